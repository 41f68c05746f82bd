//! The digest that binds a calibration table to a pack.

use super::{
    degradation::DegradationCorrection,
    manifest::{EmbedderNet, LandmarkNet, Located, ResolvedPack},
    sha256::sha256_hex,
};

/// Version of the code between nets: raised when it changes similarities.
const PIPELINE: u32 = 5;

impl ResolvedPack {
    /// A digest of everything that a similarity depends on: the nets, their inputs, and the code
    /// between them, as 16 hexadecimal digits. A calibration table is valid only for the digest
    /// that it was measured with. The JPEG decoder is not part of it: it changes similarities by
    /// less than two tables differ.
    pub fn digest(&self) -> String {
        let landmarks = |net: &LandmarkNet| {
            let plain = format!("{} {:?}", net.weights.sha256, net.input);
            if net.is_plain() {
                return plain;
            }
            let LandmarkNet { transposed, order, margins, with_detector, least_face, .. } = net;
            format!("{plain} {transposed} {order:?} {margins:?} {with_detector} {least_face:?}")
        };
        let (detector, embedder) = (&self.detector.net, &self.embedder.net);
        let mut parts = vec![
            PIPELINE.to_string(),
            detector.weights.sha256.clone(),
            format!(
                "{:?} {} {} {} {:?}",
                detector.long_sides,
                detector.near,
                detector.confidence,
                detector.nms_iou,
                detector.sure
            ),
            self.landmarks.as_ref().map_or_else(String::new, |located| landmarks(&located.net)),
            embedder.weights.sha256.clone(),
            frame(embedder),
            format!("{:?} {:?}", embedder.length, self.face_check),
        ];
        parts.extend(embedder.mirrored.then(|| "mirrored".to_owned()));
        parts.extend(embedder.degradations.as_ref().map(DegradationCorrection::digest));
        for (Located { net, .. }, weight) in &self.further {
            let EmbedderNet { weights, length, mirrored, .. } = net;
            let sha256 = &weights.sha256;
            let own = net.degradations.as_ref().map(DegradationCorrection::digest);
            let own = own.map(|digest| format!(" {digest}")).unwrap_or_default();
            parts.push(format!("{weight} {sha256} {} {length:?} {mirrored}{own}", frame(net)));
        }
        let mut digest = sha256_hex(parts.join("\n").as_bytes());
        digest.truncate(16);
        digest
    }
}

fn frame(embedder: &EmbedderNet) -> String {
    format!("{:?} {:?} {:?}", embedder.input, embedder.template, embedder.template_size)
}
