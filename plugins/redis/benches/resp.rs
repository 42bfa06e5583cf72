//! Measuring RESP natively: what the plugin's own code does for a request and a reply.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use leaseway_plugin_redis::resp::reply::Replies;
use leaseway_plugin_redis::resp::request::{Front, front};
use leaseway_sdk::frame::Parsed;

const REQUEST: &[u8] =
    b"*2\r\n$3\r\nGET\r\n$44\r\nuser:0000000000000000000000000000000000000:a\r\n";
const REPLY: &[u8] = b"$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("resp");

    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("a request: its name and its end", |bencher| {
        bencher.iter(|| {
            let Parsed::Complete {
                value: Front::Command(command),
                ..
            } = front(black_box(REQUEST))
            else {
                panic!("a GET is a command");
            };
            assert!(command.name() == b"GET");
            let (first, mut rest) = command.rest();
            let covered = first as u64 + rest.cover(&REQUEST[first..]).unwrap();
            assert!(covered == REQUEST.len() as u64 && rest.is_done());
        });
    });

    group.throughput(Throughput::Bytes(REPLY.len() as u64));
    group.bench_function("a reply", |bencher| {
        let mut replies = Replies::default();
        bencher.iter(|| {
            let covered = replies.cover(black_box(REPLY), 1).unwrap();
            assert!(covered.replies == 1);
            covered
        });
    });

    let many = REPLY.repeat(100);
    group.throughput(Throughput::Bytes(many.len() as u64));
    group.bench_function("a hundred replies at once", |bencher| {
        let mut replies = Replies::default();
        bencher.iter(|| {
            let covered = replies.cover(black_box(&many), 100).unwrap();
            assert!(covered.replies == 100);
            covered
        });
    });
    group.finish();
    criterion.final_summary();
}
