"""Makes the reference numbers beside this file, without any of this project's code.

Every stage of the face pipeline is done again with OpenCV, Pillow, scikit-image and
onnxruntime. README.md says what each file holds and how to run this.
"""

import argparse
import csv
import json
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from skimage.transform import SimilarityTransform

cv2.setNumThreads(1)

SCORE_FLOOR = 0.6
NMS_OVERLAP = 0.3
# Candidates that overlap the surest one by more than this are averaged with it.
VOTERS_OVERLAP = 0.6
TOP_K = 5000
LONGEST_SIDE = 640

CROP = 128
# The embedder's template in its own 96 x 112 frame, and the stretch of that frame to the crop.
TEMPLATE = np.array(
    [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ]
)
STRETCH = np.diag([CROP / 96, CROP / 112, 1.0])

# Sides of the square eye crop, in inter-eye distances: which is best is a matter of measurement.
EYE_CROPS = (0.7, 0.8, 0.9)

# Chosen once from the calibration photos for variety; the reason stands beside each.
CALIBRATION = {
    "Aaron_Eckhart/Aaron_Eckhart_0001.jpg": "plain frontal",
    "Antwun_Echols/Antwun_Echols_0001.jpg": "darkest face",
    "Beatrice_Dalle/Beatrice_Dalle_0001.jpg": "most faces",
    "Bill_Simon/Bill_Simon_0006.jpg": "turned to one side",
    "David_Ballantyne/David_Ballantyne_0001.jpg": "brightest face",
    "George_HW_Bush/George_HW_Bush_0002.jpg": "head tilted far",
    "Gregory_Hines/Gregory_Hines_0001.jpg": "turned to the other side",
    "Guillermo_Coria/Guillermo_Coria_0024.jpg": "eyes closed",
    "Kimi_Raikkonen/Kimi_Raikkonen_0001.jpg": "box leaves the picture",
    "Lisa_Raymond/Lisa_Raymond_0002.jpg": "largest face",
    "Maria_Luisa_Mendonca/Maria_Luisa_Mendonca_0001.jpg": "lowest confidence",
    "Michael_Jasny/Michael_Jasny_0001.jpg": "least sharp",
    "Padraig_Harrington/Padraig_Harrington_0002.jpg": "smallest face",
    "Prakash_Hinduja/Prakash_Hinduja_0001.jpg": "sharpest",
    "Tatiana_Gratcheva/Tatiana_Gratcheva_0001.jpg": "head tipped",
}

# The pixels of a picture are described by the mean colours of this many columns and rows.
GRID = 4


def open_rgb(path):
    """The picture upright, as 8-bit RGB."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def has_sixteen_bits(path):
    """Whether the file is a PNG of 16 bits a channel: the depth stands 24 bytes into a PNG."""
    head = path.read_bytes()[:25]
    return head[:4] == b"\x89PNG" and head[24] == 16


def upright_pixels(path):
    """The picture upright, R, G and B from 0 to 255, as rows of columns of channels.

    Alpha is laid on white, 16-bit values are divided by 257.
    """
    if has_sixteen_bits(path):
        # Pillow cuts 16-bit colour to its high byte and clips 16-bit grey: OpenCV keeps both.
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise OSError("OpenCV does not read it")
        pixels = pixels.astype(np.float64) / 257
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        else:
            pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
    else:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            mode = "RGBA" if upright.has_transparency_data else "RGB"
            pixels = np.asarray(upright.convert(mode), dtype=np.float64)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:] / 255
        if path.suffix == ".bmp" and not alpha.any():
            # Nobody but Pillow takes a BMP with an empty alpha channel for transparent.
            alpha = np.ones_like(alpha)
        pixels = pixels[..., :3] * alpha + 255 * (1 - alpha)
    return pixels


def grid(pixels):
    """Mean R, G, B of each cell, row by row, rounded, as hexadecimal digits."""
    height, width = pixels.shape[:2]
    cells = []
    for row in range(GRID):
        top, bottom = height * row // GRID, height * (row + 1) // GRID
        for column in range(GRID):
            left, right = width * column // GRID, width * (column + 1) // GRID
            cell = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
            cells.append(cell.mean(axis=(0, 1)))
    return bytes(np.floor(np.array(cells) + 0.5).astype(np.uint8).reshape(-1)).hex()


def describe_pixels(path):
    """Width, height and grid; nothing if Pillow refuses the file."""
    try:
        pixels = upright_pixels(path)
    except Exception:  # noqa: BLE001: it raises what it comes upon
        return ("", "", "")
    return (pixels.shape[1], pixels.shape[0], grid(pixels))


def pictures(shared):
    """All files that may be read, by their first bytes."""
    for folder in ("cases", "faces/odd"):
        for path in sorted((shared / folder).rglob("*")):
            head = path.read_bytes()[:12] if path.is_file() else b""
            if head[:3] == b"\xff\xd8\xff" or head[:2] == b"BM" or head[:8] == b"\x89PNG\r\n\x1a\n":
                yield path
            elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
                yield path


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Models:
    """The five nets of the default pack."""

    def __init__(self, folder):
        converted, upstream = folder / "converted", folder / "upstream"
        yunet = str(upstream / "yunet/yunet_s_dynamic.onnx")
        size = (320, 320)
        self.detector = cv2.FaceDetectorYN.create(yunet, "", size, SCORE_FLOOR, NMS_OVERLAP, TOP_K)
        # The same without suppression: every candidate above the floor.
        self.candidates = cv2.FaceDetectorYN.create(yunet, "", size, SCORE_FLOOR, 1.0, TOP_K)
        self.landmarks = session(converted / "landmarks-regression-retail-0009.onnx")
        self.embedder = session(converted / "face-reidentification-retail-0095.onnx")
        self.pose = session(converted / "head-pose-estimation-adas-0001.onnx")
        self.eye = session(upstream / "omz/open-closed-eye.onnx")


def as_input(rgb):
    """RGB pixels as a net's input: BGR, 0 to 255, NCHW."""
    planes = np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1))
    return planes[None].astype(np.float32)


def overlap(a, b):
    """Intersection over union of two boxes x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def vote(best, candidates):
    """Box and landmarks averaged over the candidates that agree with the best, by score."""
    voters = np.array([c for c in candidates if overlap(c, best) > VOTERS_OVERLAP])
    mean = np.average(voters, axis=0, weights=voters[:, 14])
    mean[14] = best[14]
    return mean


def detect(models, image, longest_side=LONGEST_SIDE):
    """Faces as rows of x, y, w, h, five landmarks, score, in the picture's own coordinates."""
    width, height = image.size
    scale = min(1.0, longest_side / max(width, height))
    size = (round(width * scale), round(height * scale))
    small = image if size == image.size else image.resize(size, Image.BILINEAR)
    bgr = np.ascontiguousarray(np.asarray(small)[..., ::-1])
    models.detector.setInputSize(size)
    models.candidates.setInputSize(size)
    rows = models.detector.detect(bgr)[1]
    if rows is None:
        return np.zeros((0, 15))
    candidates = models.candidates.detect(bgr)[1].astype(np.float64)
    rows = np.array([vote(row, candidates) for row in rows.astype(np.float64)])
    rows[:, 0:14:2] /= size[0] / width
    rows[:, 1:14:2] /= size[1] / height
    return rows


def largest(faces):
    return max(faces, key=lambda face: face[2] * face[3])


def box_crop(image, x, y, w, h, side):
    """The box resized to a square, as if the picture's border went on for ever."""
    # The triangle filter reaches one source pixel per output pixel beyond the box.
    reach = math.ceil(max(w, h, side) / side) + 2
    left = max(0, math.ceil(-x) + reach)
    top = max(0, math.ceil(-y) + reach)
    right = max(0, math.ceil(x + w - image.width) + reach)
    bottom = max(0, math.ceil(y + h - image.height) + reach)
    pixels = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge")
    box = (x + left, y + top, x + left + w, y + top + h)
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.BILINEAR, box=box))


def refine(models, image, face):
    x, y, w, h = face[:4]
    crop = box_crop(image, x, y, w, h, 48)
    points = models.landmarks.run(None, {"data": as_input(crop)})[0].reshape(5, 2)
    return points.astype(np.float64) * (w, h) + (x, y)


def crop_matrix(points):
    """The 2 x 3 matrix from picture coordinates to the 128 x 128 crop."""
    fit = SimilarityTransform.from_estimate(points, TEMPLATE)
    return (STRETCH @ fit.params)[:2]


def align(image, points, reduce=True):
    """The crop, its matrix, and the factor by which the picture was reduced first."""
    matrix = crop_matrix(points)
    shrink = 1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = math.floor(shrink) if reduce and shrink >= 2 else 1
    pixels = np.asarray(image)
    applied = matrix
    if factor > 1:
        height, width = (side // factor for side in pixels.shape[:2])
        whole = np.ascontiguousarray(pixels[: height * factor, : width * factor])
        pixels = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        # Reduced pixel i covers the centre factor * (i + 0.5) - 0.5 of the picture.
        offset = (factor - 1) / 2
        grow = np.array([(factor, 0, offset), (0, factor, offset), (0, 0, 1)])
        applied = matrix @ grow
    crop = cv2.warpAffine(
        pixels,
        applied,
        (CROP, CROP),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return crop, matrix, factor


def embed(models, crop):
    """The unit embedding and its length before."""
    vector = models.embedder.run(None, {"data": as_input(crop)})[0][0].astype(np.float64)
    norm = np.linalg.norm(vector)
    return vector / norm, norm


def head_pose(models, image, face):
    """Yaw, pitch and roll in degrees."""
    crop = box_crop(image, *face[:4], 60)
    degrees = models.pose.run(["fc_y", "fc_p", "fc_r"], {"data": as_input(crop)})
    return [float(value[0, 0]) for value in degrees]


def eyes_open(models, image, points, factor):
    """Probability that each eye is open: the one on the picture's left, then the right."""
    side = factor * math.dist(points[0], points[1])
    probabilities = []
    for x, y in points[:2]:
        crop = box_crop(image, x - side / 2, y - side / 2, side, side, 32)
        classes = models.eye.run(None, {"input.1": (as_input(crop) - 127) / 255})[0]
        probabilities.append(float(classes.reshape(2)[1]))
    return probabilities


ROW, COLUMN = np.mgrid[:CROP, :CROP]
MIDDLE = (CROP - 1) / 2
# The face inside the crop: hair, neck and background stay out.
FACE_ELLIPSE = ((COLUMN - MIDDLE) / 44) ** 2 + ((ROW - MIDDLE) / 60) ** 2 <= 1
CENTRE = (abs(COLUMN - MIDDLE) < 48) & (abs(ROW - MIDDLE) < 48)
# Pixels of the halved crop that a second derivative of its smoothed copy reaches.
HALF_REACH = 7
# Directions along which sharpness is measured, in radians.
DIRECTIONS = np.pi * np.arange(8) / 8
# The usual detail of a face along each.
USUAL_DETAIL = np.array([0.78, 0.83, 0.98, 1.13, 1.17, 1.13, 0.98, 0.83])


def luma(crop):
    return crop.astype(np.float64) @ (0.299, 0.587, 0.114)


def second_derivatives(plane):
    """Twice across, twice down, across and down; zero along the rim, which is never used."""
    result = np.zeros((3, *plane.shape))
    inner = plane[1:-1, 1:-1]
    result[0, 1:-1, 1:-1] = plane[1:-1, :-2] + plane[1:-1, 2:] - 2 * inner
    result[1, 1:-1, 1:-1] = plane[:-2, 1:-1] + plane[2:, 1:-1] - 2 * inner
    rising, falling = plane[:-2, 2:] + plane[2:, :-2], plane[:-2, :-2] + plane[2:, 2:]
    result[2, 1:-1, 1:-1] = (falling - rising) / 4
    return result


def detail(plane, used):
    """Variance of the second derivative along each direction, over the used pixels."""
    across, down, both = second_derivatives(plane)[:, used]
    return np.array(
        [
            (np.cos(a) ** 2 * across + np.sin(a) ** 2 * down + np.sin(2 * a) * both).var()
            for a in DIRECTIONS
        ]
    )


def inside(matrix, image):
    """Which crop pixels were sampled inside the picture, so are not the black filling."""
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    x = back[0, 0] * COLUMN + back[0, 1] * ROW + back[0, 2]
    y = back[1, 0] * COLUMN + back[1, 1] * ROW + back[1, 2]
    return (x >= 0) & (y >= 0) & (x <= image.width - 1) & (y <= image.height - 1)


def surrounded(filled):
    """Pixels of the middle of the halved crop whose neighbourhood was sampled inside the photo."""
    whole = filled.reshape(CROP // 2, 2, CROP // 2, 2).all(axis=(1, 3)).astype(np.uint8)
    side = 2 * HALF_REACH + 1
    return cv2.erode(whole, np.ones((side, side), np.uint8), borderValue=1).astype(
        bool
    ) & CENTRE[::2, ::2]


def sharpness(crop, filled):
    """18 * least^3 / mean^1.5 (geometric) of the fine detail along eight directions, each divided by
    the coarse detail along it and by what is usual.

    Motion leaves no fine detail along one direction, other blur along none. The division makes it
    the same for a dark and a bright copy of a picture.
    """
    y = luma(crop)
    used = surrounded(filled)
    half = y.reshape(CROP // 2, 2, CROP // 2, 2).mean(axis=(1, 3))
    fine = detail(cv2.GaussianBlur(y, (11, 11), 1.5), used.repeat(2, axis=0).repeat(2, axis=1))
    coarse = detail(cv2.GaussianBlur(half, (13, 13), 2.0), used)
    ratio = np.maximum(fine / np.maximum(coarse, 1e-3) / USUAL_DETAIL, 1e-6)
    return float(18 * ratio.min() ** 3 / np.exp(np.log(ratio).mean()) ** 1.5)


def exposure(crop, filled):
    """Mean luma (0 to 1) of the face ellipse, and its shares above 247 and below 25."""
    y = luma(crop)[FACE_ELLIPSE & filled]
    return float(y.mean() / 255), float((y > 247).mean()), float((y < 25).mean())


def rounded(values, digits):
    return [round(float(value), digits) for value in np.asarray(values).reshape(-1)]


def pairs_of(points, digits):
    return [rounded(point, digits) for point in points]


def describe_face(face):
    return {
        "box": rounded(face[:4], 3),
        "landmarks": pairs_of(face[4:14].reshape(5, 2), 3),
        "score": round(float(face[14]), 5),
    }


def pretty(value, indent=0):
    """JSON with one short line for what fits, so that a change shows as a change of a line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= 100 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [
            f"{pad}{json.dumps(key)}: {pretty(item, indent + 2)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    lines = [pad + pretty(item, indent + 2) for item in value]
    return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"


def natural(path):
    """img2 before img10."""
    return int("".join(filter(str.isdigit, path.stem)) or 0), path.name


def read_pairs(faces):
    with open(faces / "pairs/pairs.csv", newline="") as file:
        return [(row["a"], row["b"], row["same"]) for row in csv.DictReader(file)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="holds faces/ and models/")
    shared = parser.parse_args().shared
    faces, here = shared / "faces", Path(__file__).resolve().parent
    models = Models(shared / "models")

    with open(here / "pixels.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "width", "height", "grid"))
        for path in pictures(shared):
            writer.writerow((path.relative_to(shared).as_posix(), *describe_pixels(path)))

    photos = [f"pairs/{path.name}" for path in sorted(faces.glob("pairs/*.jpg"), key=natural)]
    photos += [f"calibration/{name}" for name in CALIBRATION]
    tables = {name: {} for name in ("detect", "landmarks", "align", "embed", "quality")}
    embeddings = {}
    for photo in photos:
        image = open_rgb(faces / photo)
        found = detect(models, image)
        face = largest(found)
        points = refine(models, image, face)
        crop, matrix, factor = align(image, points)
        embedding, norm = embed(models, crop)
        embeddings[photo] = embedding
        yaw, pitch, roll = head_pose(models, image, face)
        filled = inside(matrix, image)
        mean, bright, dark = exposure(crop, filled)
        tables["detect"][photo] = {
            "width": image.width,
            "height": image.height,
            "faces": [describe_face(one) for one in found],
        }
        tables["landmarks"][photo] = pairs_of(points, 3)
        tables["align"][photo] = {
            "matrix": [rounded(row, 6) for row in matrix],
            "factor": factor,
            "mean": rounded(crop.mean(axis=(0, 1)), 3),
            "grid": crop[8::16, 8::16].tolist(),
        }
        tables["embed"][photo] = {"norm": round(norm, 5), "first": rounded(embedding[:16], 6)}
        tables["quality"][photo] = {
            "pose": rounded((yaw, pitch, roll), 3),
            "eyes_open": {
                str(factor): rounded(eyes_open(models, image, points, factor), 5)
                for factor in EYE_CROPS
            },
            "sharpness": round(sharpness(crop, filled), 4),
            "luma": {"mean": round(mean, 4), "bright": round(bright, 4), "dark": round(dark, 4)},
        }

    for name, table in tables.items():
        (here / f"{name}.json").write_text(pretty(table) + "\n")
    with open(here / "similarity.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("a", "b", "same", "similarity"))
        for a, b, same in read_pairs(faces):
            similarity = embeddings[f"pairs/{a}"] @ embeddings[f"pairs/{b}"]
            writer.writerow((a, b, same, f"{similarity:.6f}"))


if __name__ == "__main__":
    main()
