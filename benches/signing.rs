//! Signing and verifying, beside the `rsa` crate as a second implementation.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rsa::{Pkcs1v15Sign, PrivateKey, pkcs8::DecodePrivateKey as _, sha2::Sha256};
use visavis_signing::{ClientKey, Content, ServerKey, SignatureHeader, signature_header};

fn content(body: &[u8]) -> Content<'_> {
    Content {
        uri: "/api/v1/zoloz/facecompare/compare",
        client_id: "2188000123456789",
        time: "2026-01-01T00:00:00+0000",
        body,
    }
}

fn signing(c: &mut Criterion) {
    let key = ServerKey::generate().unwrap();
    let public = ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
    let other = PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    let answer = vec![b'x'; 400];
    let mut group = c.benchmark_group("signing");
    group.bench_function("sign a response", |b| {
        // Another one each time: of the same text the signature is kept.
        let (mut answer, mut n) = (answer.clone(), 0_u64);
        b.iter(|| {
            n += 1;
            answer[..8].copy_from_slice(&n.to_ne_bytes());
            key.sign(&content(&answer)).unwrap()
        });
    });
    group.bench_function("sign a response, rsa crate", |b| {
        let digest = content(&answer).digest();
        b.iter(|| other.sign(Pkcs1v15Sign::new::<Sha256>(), digest.as_ref()).unwrap());
    });
    for kilobytes in [1, 500, 5_000] {
        let body = vec![b'x'; kilobytes * 1_000];
        let signature = key.sign(&content(&body)).unwrap();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("verify a request of {kilobytes} kB"), |b| {
            b.iter(|| public.verify(&content(&body), &signature).unwrap());
        });
    }
    let header = signature_header(&key.sign(&content(&answer)).unwrap());
    group.throughput(Throughput::Elements(1));
    group.bench_function("read a Signature header", |b| {
        b.iter(|| SignatureHeader::parse(&header).unwrap());
    });
    group.finish();
}

criterion_group!(benches, signing);
criterion_main!(benches);
