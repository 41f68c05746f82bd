//! What can be wrong with a published model, said so that a reader of the file can find the place.
//!
//! The thing to know: layers are named by the model's own names, as they stand in its file. A
//! hostile file chooses them, so messages quote them (`{:?}` escapes control characters).

/// Why a model could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The text is not well-formed XML, or it declares a DTD.
    #[error("the IR is not well-formed XML: {0}")]
    Xml(#[from] roxmltree::Error),

    /// Something is larger than any model this module is meant for.
    #[error("the model is too large: {what} (at most {limit})")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is accepted, in the unit that `what` names.
        limit: usize,
    },

    /// The XML is well-formed but is not an IR: an element or its wiring is missing or wrong.
    #[error("malformed IR: {0}")]
    Malformed(String),

    /// The root element names an IR version other than 10 or 11.
    #[error("IR version {0:?} is not supported, only 10 and 11 are")]
    UnsupportedVersion(String),

    /// A layer's operation is not one that this module knows.
    #[error("layer {layer:?}: operation {operation:?} is not supported")]
    UnsupportedOperation {
        /// Name of the layer in the IR.
        layer: String,
        /// The operation, `opset/Type`.
        operation: String,
    },

    /// An attribute is missing, is not a number, or asks for something unsupported.
    #[error("layer {layer:?}: attribute {attribute:?} {problem}")]
    Attribute {
        /// Name of the layer in the IR.
        layer: String,
        /// Name of the attribute in the layer's `<data>` element.
        attribute: &'static str,
        /// What is wrong, continuing the sentence "attribute X …".
        problem: String,
    },

    /// A constant's bytes lie outside the weights.
    #[error("layer {layer:?}: bytes {offset}..+{size} lie outside the weights ({available} bytes)")]
    WeightsOutOfRange {
        /// Name of the constant in the IR.
        layer: String,
        /// First byte of the constant.
        offset: usize,
        /// Length of the constant in bytes.
        size: usize,
        /// Length of the weights in bytes.
        available: usize,
    },

    /// The shape an operation computes is not the shape the IR declares for it.
    #[error("layer {layer:?}: computes shape {computed:?} but the IR declares {declared:?}")]
    Shape {
        /// Name of the layer in the IR.
        layer: String,
        /// Shape declared by the layer's output port, batch axis as 1.
        declared: Vec<usize>,
        /// Shape that follows from the inputs and attributes, batch axis as 1.
        computed: Vec<usize>,
    },

    /// Anything else that is wrong with one layer.
    #[error("layer {layer:?}: {problem}")]
    Layer {
        /// Name of the layer in the IR.
        layer: String,
        /// What is wrong.
        problem: String,
    },

    /// A model in another format than IR is malformed.
    #[error("malformed {format} model: {problem}")]
    MalformedModel {
        /// The format.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },

    /// There is no converter for the file.
    #[error(
        "{name} ({files} files in all) is in no known format: known are NET.onnx, NET.tflite, \
         NET.so of libfacedetection, NET.xml with NET.bin (OpenVINO IR), and mobilefacenet.json \
         with mobilefacenet.bin (TensorFlow.js)"
    )]
    Format {
        /// Name of the first file.
        name: String,
        /// How many files there are.
        files: usize,
    },

    /// A table of ranges is malformed, or is one of another network.
    #[error("the table of ranges does not fit: {0}")]
    Ranges(String),

    /// Two things in the ONNX graph would carry the same name.
    #[error("the name {0:?} would stand for two different tensors")]
    DuplicateName(String),
}

/// Short for the results of this module.
pub(super) type Result<T> = std::result::Result<T, ConvertError>;
