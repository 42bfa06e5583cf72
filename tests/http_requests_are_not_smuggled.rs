//! Requests that two readers could read in two ways: none of them brings another one to a real nginx, and
//! what is right goes on being served on the same connection.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../plugins/http1/tests/corpus/mod.rs"]
mod corpus;

use corpus::ALL;
use corpus::Outcome::{Answered, Broken, Passed, Refused};
use leaseway_tests::httpwire::HttpClient;
use leaseway_tests::nginx::Nginx;
use leaseway_tests::relay::Relay;

const CONFIG: &str = r#"
    [plugins.web]
    module = "{plugins}/http1.wasm"

    [upstreams.web]
    endpoints = ["{server}"]
    pool = { max-connections = 1 }

    [listeners.web]
    bind = "{listen}"
    plugin = "web"
    upstreams = ["web"]

    [admin]
    bind = "{admin}"
"#;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_the_corpus_is_refused_or_served_and_none_is_smuggled() {
    let server = r#"
        proxy_request_buffering on;
        location / { proxy_pass http://$server_addr:$server_port/inner; }
        location /inner { return 200 "inner\n"; }
        location /next { return 200 "next\n"; }
    "#;
    let nginx = Nginx::start(server).await;
    let relay = Relay::start_with(CONFIG, &[("server", &nginx.addr().to_string())]).await;
    let mut next = 0;
    for (section, about, request, outcome) in ALL.iter().copied().flatten() {
        let what = format!("{section}: {about}");
        let mut client = HttpClient::connect(relay.addr()).await;
        match outcome {
            Refused(status) | Broken(status) => {
                // What comes behind it may find the connection closed.
                let _ = client.send([request, SMUGGLED].concat()).await;
                let told = String::from_utf8_lossy(&client.rest().await).into_owned();
                let expected = format!("HTTP/1.1 {status} ");
                assert!(told.starts_with(&expected), "{what}: {told}");
                assert_eq!(told.matches("\r\n\r\n").count(), 1, "{what}: {told}");
                continue;
            }
            Answered(status) => {
                client.send(request).await.unwrap();
                let told = client.response().await.unwrap();
                assert_eq!(told.status, *status, "{what}");
            }
            Passed(_) if request.starts_with("TRACE") => continue,
            Passed(_) => {
                client.send(request).await.unwrap();
                let told = client
                    .response()
                    .await
                    .unwrap_or_else(|why| panic!("{what}: {why}"));
                assert!(told.status < 500, "{what}: {told:?}");
            }
        }
        let told = client
            .get("/next")
            .await
            .unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(told.text(), "next\n", "{what}");
        next += 1;
    }
    assert!(next > 10, "{next}");
    let requests = nginx.requests();
    assert!(!requests.contains("/smuggled HTTP/"), "{requests}");
    assert_eq!(requests.matches("GET /next HTTP/1.1\n").count(), next);
    let faults = relay.metric_sum("leaseway_plugin_faults_total").await;
    assert_eq!(faults, 0.0);
}
