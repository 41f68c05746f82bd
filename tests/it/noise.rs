//! Noise where no one has checked the bytes yet: the seeds of the fuzz targets, and many damaged
//! copies of them, through the same ways in. `make fuzz` does this with coverage, and for longer.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use visavis::{
    clients::{Caller, ClientPolicy, KeySet, StoredClient},
    compare::ClientFmr,
    http::fuzzing,
};
use visavis_face::{DecodeLimits, decode::decode};
use visavis_signing::{
    ClientKey, EncryptHeader, SecretKey, SignatureHeader, key_der, parse_mac, parse_time,
};

use crate::support::{in_repository, merchant, server_key};

/// Damaged copies of each seed.
const COPIES: u64 = 400;

/// Numbers that are the same in every run.
pub struct Dice(u64);

impl Dice {
    /// Different for every number.
    pub fn new(number: u64) -> Self {
        Self((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// What parsers stumble over.
const MORSELS: [&[u8]; 12] = [
    b"", b"\0", b"\xFF", b"\n\n", b"%", b"%%%", b"=", b",,", b"\"", b"{\"a\":", b"\\u0000", b"e999",
];

pub fn damaged(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => {
                let morsel = MORSELS[dice.below(MORSELS.len())];
                bytes.splice(at..at, morsel.iter().copied());
            }
            3 => {
                let end = (at + dice.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            _ => {}
        }
    }
    bytes
}

/// Every seed of a target whole, and its damaged copies; returns how many were taken as good.
fn throw(target: &str, mut take: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
    let folder = in_repository(&format!("fuzz/seeds/{target}"));
    let mut seeds: Vec<_> =
        fs::read_dir(Path::new(&folder)).unwrap().map(|e| e.unwrap().path()).collect();
    seeds.sort();
    let (mut good, mut all) = (0, 0);
    for path in seeds {
        let seed = fs::read(&path).unwrap();
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        for copy in 0..=COPIES {
            let bytes = if copy == 0 { seed.clone() } else { damaged(&seed, &mut dice) };
            let taken = catch_unwind(AssertUnwindSafe(|| take(&bytes)));
            let name = path.file_name().unwrap().display().to_string();
            good += usize::from(taken.unwrap_or_else(|_| panic!("{name}, copy {copy}: {bytes:?}")));
            all += 1;
        }
    }
    (good, all)
}

#[test]
fn no_request_head_stops_the_gateway() {
    let keys = KeySet {
        version: 1,
        merchant_key: ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap(),
        server_key: visavis_signing::ServerKey::from_pkcs8(server_key().pkcs8_der()).unwrap(),
        access_key: "AK".to_owned(),
        secret_key: SecretKey::new(&[7; 32]),
        expires_at: None,
    };
    let client = StoredClient {
        name: "app".to_owned(),
        revision: 1,
        keys: vec![keys.into()],
        extras: true,
        fmr: ClientFmr::default(),
        policy: ClientPolicy::default(),
        disabled: false,
    };
    let caller = Caller { client_id: "2188".to_owned(), shard: 0, client }.into();
    let (good, all) = throw("request", |bytes| fuzzing::request(&caller, bytes));
    assert_eq!((good, all > 1_000), (0, true), "noise is never signed");
}

#[test]
fn no_header_value_stops_a_parser() {
    let (good, all) = throw("headers", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (parse_mac(&text), parse_time(&text), key_der(&text), EncryptHeader::parse(&text));
        SignatureHeader::parse(&text).is_ok()
    });
    assert!(good > 100 && good < all, "{good} of {all} are read as a signature");
}

#[test]
fn no_body_stops_a_reader_of_json() {
    let (good, all) = throw("json", fuzzing::json);
    assert!(good > 100 && good < all, "{good} of {all} are objects");
}

#[test]
fn no_wrapped_key_and_no_ciphertext_stops_the_gateway() {
    let (good, _) = throw("encrypted", |bytes| fuzzing::encrypted(server_key(), bytes));
    assert_eq!(good, 0, "noise is no JSON");
}

#[test]
fn no_picture_stops_a_decoder() {
    let limits = DecodeLimits { max_pixels: 1 << 20, ..DecodeLimits::default() };
    let (good, all) = throw("picture", |bytes| {
        let decoded = decode(bytes, &limits);
        if let Ok(picture) = &decoded {
            assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
        }
        decoded.is_ok()
    });
    assert!(good > 100 && good < all, "{good} of {all} are decoded");
}
