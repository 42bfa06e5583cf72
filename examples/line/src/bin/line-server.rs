//! The server of the line protocol: `line-server ADDRESS`. Says on standard output where it
//! listens, and serves until it is killed. A thread for each connection is plenty for an example.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: line-server ADDRESS, for instance 127.0.0.1:0");
        return std::process::ExitCode::from(2);
    };
    match server::serve(&address) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("line-server: cannot listen on {address}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A plugin's target has no sockets.
#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
mod server {
    use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// The longest line that is read.
    const MAX_LINE: u64 = 4096;

    pub(super) fn serve(address: &str) -> io::Result<()> {
        let listener = TcpListener::bind(address)?;
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on {}", listener.local_addr()?)?;
        stdout.flush()?;
        loop {
            match listener.accept() {
                // A client that goes away is none of the server's business.
                Ok((stream, _)) => drop(thread::spawn(move || talk(&stream))),
                Err(error) => eprintln!("line-server: cannot accept: {error}"),
            }
        }
    }

    fn talk(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = BufWriter::new(stream);
        write!(writer, "HELLO {}\r\n", stream.local_addr()?)?;
        let mut line = Vec::new();
        loop {
            // Replies to a pipeline go out together.
            if reader.buffer().is_empty() {
                writer.flush()?;
            }
            line.clear();
            (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                return writer.flush();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            match line.as_slice() {
                b"PING" => writer.write_all(b"PONG\r\n")?,
                b"QUIT" => {
                    writer.write_all(b"BYE\r\n")?;
                    return writer.flush();
                }
                other => {
                    writer.write_all(b"ECHO ")?;
                    writer.write_all(other)?;
                    writer.write_all(b"\r\n")?;
                }
            }
        }
    }
}
