"""Measures the table of ranges with which the embedder is brought to eight bits.

The net in single precision looks at aligned faces of every second person of a folder with a folder for each
person; README.md says how to run this. The other half of the people are for testing what comes out.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
from onnx import helper, numpy_helper

import make_reference as reference

# What is rounded: the results v6 to v147. Before, the first convolutions are as fast in single precision; after, the
# last stage makes a quarter of the errors and a tenth of the work.
ROUNDED = range(6, 148)
# Operations that the runtime does on whole numbers; sums and products stay in single precision.
WHOLE = ("Conv", "LeakyRelu", "AveragePool", "Sigmoid")
PHOTOS = 800
BINS = 4096
# Of the photos' largest values in a channel, the one that is exceeded in a twentieth of them counts.
USUAL = 95
# Ranges are those of the least square error, widened by this share of the way to the extremes: unusual faces are
# what comparisons fail on.
WIDENED = 0.25
# Hexadecimal digit of a channel that is not shifted.
UNSHIFTED = 8


def crops(models, folder):
    """Aligned faces of every second person, evenly picked, as inputs of the net."""
    people = sorted(path for path in folder.iterdir() if path.is_dir())[::2]
    photos = [photo for person in people for photo in sorted(person.iterdir())]
    for photo in photos[:: max(1, len(photos) // PHOTOS)][:PHOTOS]:
        image = reference.open_rgb(photo)
        faces = reference.detect(models, image)
        if len(faces):
            points = reference.refine(models, image, reference.largest(faces))
            yield reference.as_input(reference.align(image, points)[0])


class Net:
    """The graph, its constants, and who reads what."""

    def __init__(self, model):
        self.model = model
        self.nodes = {node.output[0]: node for node in model.graph.node}
        self.constants = {c.name: numpy_helper.to_array(c).copy() for c in model.graph.initializer}
        self.readers = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def is_rounded(self, name):
        if not name.startswith("v") or int(name[1:]) not in ROUNDED:
            return False
        read = any(node.op_type == "Conv" for node in self.readers.get(name, []))
        return read or self.nodes[name].op_type in WHOLE

    def session(self, names):
        """Yields these tensors."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.initializer[:], model.graph.output[:]
        for name, values in self.constants.items():
            model.graph.initializer.append(numpy_helper.from_array(values, name))
        for name in names:
            value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(value)
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(model, file.name)
            return reference.session(file.name)

    def results(self, names, faces):
        """For each face, the values of these tensors by name."""
        session = self.session(names)
        for face in faces:
            yield dict(zip(names, session.run(names, {"data": face})))


def shifts(net, faces):
    """Powers of two by channel, for results whose channels spread differently; applied to the net."""
    places = []
    for name, node in net.nodes.items():
        readers = net.readers.get(name, [])
        if node.op_type != "Conv" or [r.op_type for r in readers] != ["LeakyRelu"]:
            continue
        active = readers[0].output[0]
        follower = net.readers[active][0]
        by_channel = net.constants[follower.input[1]].shape[1] == 1
        if follower.op_type == "Conv" and net.is_rounded(active) and (by_channel or not net.is_rounded(name)):
            places.append((name, active, follower, by_channel))
    largest = {active: [] for _, active, _, _ in places}
    for values in net.results(list(largest), faces):
        for name, tensor in values.items():
            largest[name].append(np.abs(tensor[0]).max(axis=(1, 2)))
    table = {}
    for name, active, follower, by_channel in places:
        powers = np.log2(np.maximum(np.percentile(largest[active], USUAL, axis=0), 1e-6))
        # What another convolution than one by channel takes back, its weights lose in precision: half the way.
        powers = powers if by_channel else powers / 2
        powers = np.clip(np.round(powers - np.median(powers)), -UNSHIFTED, 15 - UNSHIFTED)
        factors = np.exp2(powers).astype(np.float32)
        _, weights, bias = net.nodes[name].input
        net.constants[weights] /= factors[:, None, None, None]
        net.constants[bias] /= factors
        shape = (-1, 1, 1, 1) if by_channel else (1, -1, 1, 1)
        net.constants[follower.input[1]] *= factors.reshape(shape)
        table[name] = "".join(f"{int(power) + UNSHIFTED:x}" for power in powers)
    return table


def best(low, high, counts):
    """Of ranges within low and high the one with the least square error over 256 steps."""
    centres = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
    found = (np.inf, low, high)
    shares = np.linspace(0.3, 1, 15)
    for bottom in {share * min(low, 0) for share in shares}:
        for top in {share * max(high, 0) for share in shares}:
            step = (top - bottom) / 255
            if step <= 0:
                continue
            zero = np.round(-bottom / step)
            rounded = (np.clip(np.round(centres / step) + zero, 0, 255) - zero) * step
            found = min(found, ((counts * (rounded - centres) ** 2).sum(), bottom, top))
    return found[1:]


def ranges(net, faces):
    names = [name for name in net.nodes if net.is_rounded(name)]
    limits = {name: [0.0, 0.0] for name in names}
    for values in net.results(names, faces):
        for name, tensor in values.items():
            low, high = limits[name]
            limits[name] = [min(low, float(tensor.min())), max(high, float(tensor.max()))]
    counts = {name: np.zeros(BINS) for name in names}
    for values in net.results(names, faces):
        for name, tensor in values.items():
            counts[name] += np.histogram(tensor, bins=BINS, range=limits[name])[0]
    table = {}
    for name, (low, high) in limits.items():
        bottom, top = best(low, high, counts[name])
        widened = (bottom + WIDENED * (low - bottom), top + WIDENED * (high - top))
        table[name] = [float(f"{limit:.4g}") for limit in widened]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with faces/ and models/")
    parser.add_argument("--net", type=Path, required=True, help="the embedder in single precision, ONNX")
    arguments = parser.parse_args()
    models = reference.Models(arguments.shared / "models")
    faces = list(crops(models, arguments.shared / "faces/calibration"))
    net = Net(onnx.load(arguments.net))
    print(f"# Made by tests/reference/make_ranges.py from {len(faces)} faces of every second person of LFW.")
    print("#")
    print("# Powers of two by which the channels of a result are divided, plus 8, one hexadecimal digit each.")
    print("[shifts]")
    for name, digits in shifts(net, faces).items():
        print(f'{name} = "{digits}"')
    print()
    print("# From where to where the 256 steps of a tensor reach, after the shifts.")
    print("[ranges]")
    for name, (low, high) in ranges(net, faces).items():
        print(f"{name} = [{low}, {high}]")


if __name__ == "__main__":
    main()
