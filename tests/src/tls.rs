//! Real TLS servers of a test's own, with certificates of an authority of its own; and a ClientHello
//! for clients that only pretend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::dir::TempDir;
use crate::ports;
use crate::process::Process;
use crate::tool::openssl;
use crate::wait::eventually;

const MEND: &str = "apt-get install nginx-light";
const START: Duration = Duration::from_secs(30);

/// How large the file is that every server has.
pub const BULK: usize = 8 << 20;

/// An authority that certifies whatever a test wants.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// openssl is not installed, or fails.
    pub async fn new() -> Self {
        let authority = Self(TempDir::new("authority"));
        let (key, certificate) = authority.files("ca");
        authority
            .request(&key, &certificate, &["-subj", "/CN=leaseway tests"])
            .await;
        authority
    }

    /// Its certificate, for clients that are to trust it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.files("ca").1
    }

    /// Key and certificate for these names.
    async fn certify(&self, label: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let (key, certificate) = self.files(label);
        let (authority_key, authority) = self.files("ca");
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let names = format!("subjectAltName={}", names.join(","));
        let subject = format!("/CN={label}");
        let (authority_key, authority) = (text(&authority_key), text(&authority));
        let options = ["-subj", &subject, "-addext", &names, "-CA", authority];
        let options = [&options[..], &["-CAkey", authority_key]].concat();
        self.request(&key, &certificate, &options).await;
        (key, certificate)
    }

    fn files(&self, label: &str) -> (PathBuf, PathBuf) {
        let file = |ending: &str| self.0.path().join(format!("{label}.{ending}"));
        (file("key"), file("pem"))
    }

    async fn request(&self, key: &Path, certificate: &Path, options: &[&str]) {
        let args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        let mut args: Vec<&str> = args.split(' ').collect();
        args.extend(["-keyout", text(key), "-out", text(certificate)]);
        args.extend(options);
        let output = openssl(&args, START).await;
        assert!(output.success, "openssl {args:?}: {}", output.stderr);
    }
}

/// An nginx that serves HTTP over TLS on a free loopback port. Killed on drop.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    dir: TempDir,
    process: Process,
}

impl TlsServer {
    /// Starts one for these names. Whatever is asked of it, its answer is one line: `label`, the
    /// server name that the client has sent, and the path. But `/bulk` is [`BULK`] bytes of its label.
    ///
    /// # Panics
    /// nginx or openssl is not installed, or does not start; with what it said.
    pub async fn start(authority: &Authority, label: &str, names: &[&str]) -> Self {
        let (key, certificate) = authority.certify(label, names).await;
        let dir = TempDir::new("nginx");
        let address = ports::free_address();
        let bulk = label.repeat(BULK.div_ceil(label.len()));
        let wrote = std::fs::write(dir.path().join("bulk"), &bulk.as_bytes()[..BULK]);
        wrote.expect("the temporary folder can be written to");
        let folder = text(dir.path());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .collect();
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr info;
             events {{ worker_connections 2048; }}
             http {{
               {temporary} access_log off; default_type text/plain;
               server {{
                 listen {address} ssl http2 backlog=1024; ssl_protocols TLSv1.2 TLSv1.3;
                 ssl_certificate {certificate}; ssl_certificate_key {key};
                 location = /bulk {{ root {folder}; }}
                 location / {{ return 200 \"{label} $ssl_server_name $request_uri\\n\"; }}
               }}
             }}",
            certificate = text(&certificate),
            key = text(&key),
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).expect("the temporary folder can be written to");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(dir.path());
        let log = dir.path().join("log");
        let mut server = Self {
            address,
            process: Process::start("nginx", command, &log, MEND),
            dir,
        };
        eventually("nginx accepts", START, async || {
            if let Some(status) = server.process.ended() {
                panic!("nginx ended, {status}:\n{}", server.process.log());
            }
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Freezes it: the kernel goes on accepting connections for it, and nothing is answered.
    pub async fn pause(&self) {
        self.process.signal(Signal::STOP);
        self.process.wait_paused(true).await;
    }

    /// Lets it go on.
    pub async fn resume(&self) {
        self.process.signal(Signal::CONT);
        self.process.wait_paused(false).await;
    }
}

/// A record with a ClientHello for this server name: good enough to be routed, and for no server.
///
/// # Panics
/// The name has more than 255 bytes.
#[must_use]
pub fn client_hello(name: &str) -> Vec<u8> {
    long_client_hello(name, 0)
}

/// The same with so many bytes of padding (RFC 7685) in front of the name, in as many records as it
/// takes.
///
/// # Panics
/// All of it has more than 64 KiB.
#[must_use]
pub fn long_client_hello(name: &str, padding: usize) -> Vec<u8> {
    const PADDING: u8 = 21;
    const MAX_FRAGMENT: usize = 1 << 14;
    let vector16 = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("it is short");
        [&length.to_be_bytes(), bytes].concat()
    };
    let mut extensions = Vec::new();
    if padding > 0 {
        extensions.extend([0, PADDING]);
        extensions.extend(vector16(&vec![0; padding]));
    }
    let names = vector16(&[&[0][..], &vector16(name.as_bytes())].concat());
    extensions.extend([0, 0]);
    extensions.extend(vector16(&names));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(vector16(&extensions));
    let message = [&[1, 0][..], &vector16(&body)].concat();
    message
        .chunks(MAX_FRAGMENT)
        .flat_map(|fragment| [&[22, 3, 1][..], &vector16(fragment)].concat())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
