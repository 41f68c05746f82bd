//! A process that may open few files.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::crash::server::{Data, Server};

#[test]
fn a_server_without_a_free_file_says_so_and_accepts_again_afterwards() {
    let data = Data::new();
    let log = data.folder().join("log");
    let file = fs::File::create(&log).unwrap();
    let server = Server::start_limited(&data, 80, file);
    let address = server.url().trim_start_matches("http://").to_owned();
    let lines =
        |message: &str| crate::log::lines(&fs::read_to_string(&log).unwrap(), message).len();
    let warning = "the limit on open files is too low: raise LimitNOFILE or ulimit -Hn, or lower \
                   http.max_connections";
    assert_eq!(lines(warning), 1, "at the start");
    let open: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let exhausted = "the limit on open files is reached, so no connections are accepted: raise \
                     LimitNOFILE or ulimit -n";
    let begun = Instant::now();
    while lines(exhausted) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was said");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(open);
    let begun = Instant::now();
    while server.ready() != Some(true) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not accept again");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(lines(exhausted), 1, "once a minute");
    assert_eq!(server.terminate(), Some(0));
}
