"""Fits models/NET.degradations, the directions that degraded faces share in their embeddings.

Photos of every fourth person of faces/calibration are left out: the tests measure on them. One
photo each of some of the other people is degraded in many ways, and for each way a linear
discriminant on the embedding is fitted that separates such faces from clear ones. README.md says
how to run this.
"""

import argparse
import math
from pathlib import Path

import cv2
import numpy as np

import make_reference as reference

SEED = 20261201
# Share of the trace of the covariance that is added to its diagonal.
RIDGE = 1.0
# Fewer faces do not make a direction.
LEAST_FACES = 100


class Degrader:
    """Degrades one photo, in the coordinates of the box of its face: 0 to 1 are its edges."""

    def __init__(self, rng, pixels, face):
        self.rng = rng
        self.pixels = pixels.astype(np.float32)
        height, width = pixels.shape[:2]
        self.row, self.column = np.mgrid[:height, :width].astype(np.float32)
        self.x = (self.column - face[0]) / face[2]
        self.y = (self.row - face[1]) / face[3]
        self.wide = float(face[2])
        points = np.asarray(face[4:14]).reshape(5, 2)
        self.eyes = (points[:2] - face[:2]) / face[2:4]

    def between(self, low, high):
        return float(self.rng.uniform(low, high))

    # Noise.

    def noise(self, low, high, grain=0.0, grey=False):
        shape = (*self.pixels.shape[:2], 1 if grey else 3)
        noise = self.rng.normal(0, 1, shape).astype(np.float32)
        if grain:
            noise = cv2.GaussianBlur(noise, (0, 0), grain).reshape(shape)
            noise /= noise.std()
        return self.pixels + self.between(low, high) * noise

    def dots(self):
        draw = self.rng.random(self.pixels.shape[:2])
        share = self.between(0.04, 0.25)
        out = self.pixels.copy()
        out[draw < share] = 255
        out[draw < share / 2] = 0
        return out

    # Focus and resolution.

    def moved(self, angle):
        reach = max(1.5, self.between(0.06, 0.13) * self.wide / 2)
        side = 2 * math.ceil(reach) + 1
        kernel = np.zeros((side * 8, side * 8), np.float32)
        middle = side * 4
        turn = math.radians(angle + self.between(-15, 15))
        step = np.array([math.cos(turn), math.sin(turn)]) * reach * 8
        ends = [tuple(int(round(middle + sign * s)) for s in step) for sign in (-1, 1)]
        cv2.line(kernel, *ends, 1.0, 8)
        kernel = cv2.resize(kernel, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.filter2D(self.pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)

    def blurred(self):
        return cv2.GaussianBlur(self.pixels, (0, 0), self.between(0.025, 0.06) * self.wide)

    def small(self, low, high, up):
        factor = self.between(low, high) / self.wide
        height, width = self.pixels.shape[:2]
        size = max(4, round(width * factor)), max(4, round(height * factor))
        small = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=up)

    def jpeg(self):
        coded = np.clip(self.pixels, 0, 255).astype(np.uint8)[..., ::-1]
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(self.rng.integers(2, 8))]
        return cv2.imdecode(cv2.imencode(".jpg", coded, quality)[1], cv2.IMREAD_COLOR)[..., ::-1]

    def sharpened(self):
        soft = cv2.GaussianBlur(self.pixels, (0, 0), self.between(0.01, 0.03) * self.wide)
        return self.pixels + self.between(2, 6) * (self.pixels - soft)

    # Light and colour.

    def lit_from(self, across, down):
        t = np.clip((self.x - 0.5) * across + (self.y - 0.5) * down + 0.5, 0, 1)
        dark, power = self.between(0.04, 0.25), self.between(0.7, 2.2)
        return self.pixels * (dark + self.between(0.9, 1.5) * t**power)[..., None]

    def shadow(self, across, down):
        edge = self.between(-0.1, 0.1)
        soft = self.between(0.02, 0.25)
        t = np.clip(((self.x - 0.5) * across + (self.y - 0.5) * down - edge) / soft + 0.5, 0, 1)
        return self.pixels * (self.between(0.05, 0.25) * (1 - t) + t)[..., None]

    def bright(self):
        return self.pixels * self.between(1.8, 3.5) + self.between(0, 50)

    def dark(self):
        return self.pixels * self.between(0.05, 0.15)

    def flat(self):
        return self.pixels * self.between(0.08, 0.25) + self.between(60, 150)

    def levels(self):
        steps = int(self.rng.integers(2, 5))
        return np.floor(np.clip(self.pixels, 0, 255) / 256 * steps) * 255 / (steps - 1)

    def black_and_white(self):
        grey = self.pixels.mean(axis=2, keepdims=True)
        inside = (self.x > 0) & (self.x < 1) & (self.y > 0) & (self.y < 1)
        limit = np.median(grey[inside]) * self.between(0.75, 1.2) if inside.any() else 128
        return np.where(grey > limit, 255.0, 0.0).repeat(3, axis=2)

    def halftone(self):
        grey = self.pixels.mean(axis=2)
        period, turn = self.between(0.03, 0.06) * self.wide, math.radians(self.between(0, 90))
        u = self.column * math.cos(turn) + self.row * math.sin(turn)
        v = self.row * math.cos(turn) - self.column * math.sin(turn)
        screen = np.cos(u * 2 * math.pi / period) + np.cos(v * 2 * math.pi / period)
        out = np.clip((grey / 255 - 0.5 + screen / 4) * self.between(2, 8) + 0.5, 0, 1) * 255
        return out[..., None].repeat(3, axis=2)

    def inverted(self):
        return 255 - self.pixels

    def tinted(self, low, high):
        return self.pixels * self.rng.uniform(low, high)

    # Over the face.

    def veil(self, shape, soft=0.0):
        mask = shape.astype(np.float32)
        if soft:
            mask = cv2.GaussianBlur(mask, (0, 0), soft * self.wide)
        alpha = mask[..., None] * self.between(0.35, 0.75)
        colour = self.between(180, 255) if self.rng.random() < 0.7 else self.between(0, 60)
        return self.pixels * (1 - alpha) + colour * alpha

    def cover(self, shape, colours="any"):
        kind = self.rng.integers(4)
        if colours == "dark":
            colour = self.rng.uniform(0, 50, 3)
        elif colours == "light":
            colour = self.rng.uniform(170, 255, 3)
        elif kind == 0:
            colour = np.full(3, self.between(0, 255))
        elif kind == 1:
            colour = np.array([220, 175, 145]) * self.between(0.3, 1.1)
        else:
            colour = self.rng.uniform(0, 255, 3)
        fill = np.ones_like(self.pixels) * colour.astype(np.float32)
        if self.rng.random() < 0.3:
            wave = np.sin(self.row * self.between(0.2, 1.2) + self.column * self.between(0, 0.8))
            fill = fill * (1 + 0.3 * wave[..., None])
        return np.where(shape[..., None], fill, self.pixels)

    def box(self, left, top, right, bottom, play=0.04):
        left, top, right, bottom = (
            side + self.rng.normal(0, play) for side in (left, top, right, bottom)
        )
        return (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)

    def oval(self, x, y, half_width, half_height, play=0.04):
        x, y = x + self.rng.normal(0, play), y + self.rng.normal(0, play)
        half_width *= self.between(0.85, 1.15)
        half_height *= self.between(0.85, 1.15)
        return ((self.x - x) / half_width) ** 2 + ((self.y - y) / half_height) ** 2 <= 1

    def lenses(self):
        apart = abs(self.eyes[1][0] - self.eyes[0][0])
        size = apart * self.between(0.36, 0.5)
        shape = np.zeros(self.x.shape, bool)
        for x, y in self.eyes:
            shape |= self.oval(x, y, size, size * 0.75, 0.01)
        return shape

    def lines(self, across, down):
        period = self.between(0.04, 0.14) * self.wide
        phase = (self.column * across + self.row * down) % period
        return self.veil(phase < period * self.between(0.2, 0.5))

    def moire(self):
        turn = self.between(0, math.pi)
        period = self.between(0.04, 0.1) * self.wide
        wave = np.sin(
            (self.column * math.cos(turn) + self.row * math.sin(turn)) * 2 * math.pi / period
        )
        return self.pixels + self.between(20, 60) * wave[..., None]

    def stretched(self, wide):
        factor = self.between(1.4, 1.9)
        height, width = self.pixels.shape[:2]
        size = (round(width * factor), height) if wide else (width, round(height * factor))
        return cv2.resize(self.pixels, size, interpolation=cv2.INTER_LINEAR)


def kinds():
    """Every way to degrade a photo."""
    nearest, linear = cv2.INTER_NEAREST, cv2.INTER_LINEAR
    ways = {
        "noise": lambda d: d.noise(18, 35),
        "strong noise": lambda d: d.noise(40, 65),
        "grey noise": lambda d: d.noise(25, 50, grey=True),
        "coloured grain": lambda d: d.noise(14, 30, grain=1.3),
        "grey grain": lambda d: d.noise(15, 35, grain=1.3, grey=True),
        "coarse grain": lambda d: d.noise(15, 30, grain=3, grey=True),
        "dots": Degrader.dots,
        "moved across": lambda d: d.moved(0),
        "moved down": lambda d: d.moved(90),
        "moved aslant": lambda d: d.moved(45),
        "moved the other way": lambda d: d.moved(135),
        "blurred": Degrader.blurred,
        "large squares": lambda d: d.small(11, 17, nearest),
        "small squares": lambda d: d.small(18, 28, nearest),
        "few pixels": lambda d: d.small(9, 16, linear),
        "jpeg": Degrader.jpeg,
        "sharpened": Degrader.sharpened,
        "bright": Degrader.bright,
        "dark": Degrader.dark,
        "flat": Degrader.flat,
        "levels": Degrader.levels,
        "black and white": Degrader.black_and_white,
        "halftone": Degrader.halftone,
        "inverted": Degrader.inverted,
        "red": lambda d: d.tinted((0.8, 0.05, 0.05), (1.2, 0.4, 0.4)),
        "green": lambda d: d.tinted((0.05, 0.8, 0.05), (0.4, 1.2, 0.4)),
        "blue": lambda d: d.tinted((0.05, 0.05, 0.8), (0.4, 0.4, 1.3)),
        "horizontal lines": lambda d: d.lines(0, 1),
        "vertical lines": lambda d: d.lines(1, 0),
        "diagonal lines": lambda d: d.lines(0.7, 0.7),
        "other diagonal lines": lambda d: d.lines(0.7, -0.7),
        "moire": Degrader.moire,
        "wide": lambda d: d.stretched(True),
        "high": lambda d: d.stretched(False),
        "glare": lambda d: d.veil(d.oval(0.5, 0.5, 0.4, 0.4, 0.08), d.between(0, 0.1)),
        "glare above": lambda d: d.veil(d.oval(0.5, 0.25, 0.5, 0.25, 0.06), d.between(0, 0.1)),
        "glare on the left": lambda d: d.veil(d.oval(0.2, 0.5, 0.3, 0.5, 0.06), d.between(0, 0.1)),
        "glare on the right": lambda d: d.veil(d.oval(0.8, 0.5, 0.3, 0.5, 0.06), d.between(0, 0.1)),
        "band over the eyes": lambda d: d.veil(d.box(-1, 0.25, 2, 0.5)),
        "band over the mouth": lambda d: d.veil(d.box(-1, 0.6, 2, 0.95)),
        "eyes, dark": lambda d: d.cover(d.box(-0.05, 0.24, 1.05, 0.5), "dark"),
        "eyes, light": lambda d: d.cover(d.box(-0.05, 0.24, 1.05, 0.5), "light"),
        "eyes": lambda d: d.cover(d.box(-0.05, 0.24, 1.05, 0.5)),
        "eyes and forehead": lambda d: d.cover(d.box(-0.1, -0.2, 1.1, 0.52)),
        "dark glasses": lambda d: d.cover(d.lenses(), "dark"),
        "glasses": lambda d: d.cover(d.lenses()),
        "mouth and nose, dark": lambda d: d.cover(d.box(-0.05, 0.54, 1.05, 1.15), "dark"),
        "mouth and nose, light": lambda d: d.cover(d.box(-0.05, 0.54, 1.05, 1.15), "light"),
        "mouth and nose": lambda d: d.cover(d.oval(0.5, 0.78, 0.5, 0.3)),
        "mouth": lambda d: d.cover(d.box(0.15, 0.68, 0.85, 0.95)),
        "oval over the mouth": lambda d: d.cover(d.oval(0.5, 0.8, 0.38, 0.18)),
        "nose": lambda d: d.cover(d.box(0.3, 0.42, 0.7, 0.68)),
        "oval over the nose": lambda d: d.cover(d.oval(0.5, 0.56, 0.2, 0.16)),
        "forehead": lambda d: d.cover(d.box(-0.05, -0.3, 1.05, 0.25)),
        "chin": lambda d: d.cover(d.box(-0.05, 0.85, 1.05, 1.3)),
        "bar down the middle": lambda d: d.cover(d.box(0.35, -0.1, 0.65, 1.1)),
        "oval in the middle": lambda d: d.cover(d.oval(0.5, 0.5, 0.3, 0.3)),
    }
    sides = {"left": (0, 0.5), "right": (0.5, 1)}
    for name, (left, right) in sides.items():
        sign = 1 if name == "left" else -1
        ways |= {
            f"{name} half": lambda d, a=left, b=right: d.cover(d.box(a - 0.1, -0.2, b, 1.2))
            if a == 0 else d.cover(d.box(a, -0.2, b + 0.1, 1.2)),
            f"{name} eye": lambda d, a=left, b=right: d.cover(d.box(a, 0.25, b, 0.5)),
            f"{name} upper quarter": lambda d, a=left, b=right: d.cover(d.box(a, -0.1, b, 0.53)),
            f"{name} lower quarter": lambda d, a=left, b=right: d.cover(d.box(a, 0.52, b, 1.1)),
            f"{name} in the dark": lambda d, s=sign: d.lit_from(s, 0),
            f"{name} in a shadow": lambda d, s=sign: d.shadow(s, 0),
        }
    ways |= {
        "upper part in the dark": lambda d: d.lit_from(0, 1),
        "lower part in the dark": lambda d: d.lit_from(0, -1),
        "upper part in a shadow": lambda d: d.shadow(0, 1),
        "lower part in a shadow": lambda d: d.shadow(0, -1),
    }
    return ways


def embedding(models, pixels):
    """The embedding of the largest face, and its row of the detector; nothing if there is none."""
    pixels = np.clip(np.round(pixels), 0, 255).astype(np.uint8)
    image = reference.Image.fromarray(pixels)
    models.detector.setInputSize(image.size)
    rows = models.detector.detect(np.ascontiguousarray(pixels[..., ::-1]))[1]
    if rows is None:
        return None
    face = max(rows, key=lambda row: row[2] * row[3]).astype(np.float64)
    crop = reference.align(image, reference.refine(models, image, face))[0]
    return reference.embed(models, crop)[0], face


def fit(clear, degraded):
    """Rows of an offset and a direction, each with mean 0 and deviation 1 on clear faces."""
    mean = clear.mean(axis=0)
    spread = (clear - mean).T @ (clear - mean) / len(clear)
    centred = [faces - faces.mean(axis=0) for faces in degraded]
    count = sum(len(faces) for faces in centred)
    both = (spread + sum(faces.T @ faces for faces in centred) / count) / 2
    both += RIDGE * np.trace(both) / len(both) * np.eye(len(both))
    rows = []
    for faces in degraded:
        direction = np.linalg.solve(both, faces.mean(axis=0) - mean)
        direction /= math.sqrt(direction @ spread @ direction)
        rows.append(np.concatenate([[-direction @ mean], direction]))
    return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="holds faces/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--people", type=int, default=400, help="whose photos are degraded")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models = reference.Models(options.shared / "models")
    folder = options.shared / "faces/calibration"
    everyone = sorted(person for person in folder.iterdir() if person.is_dir())
    people = [person for number, person in enumerate(everyone) if number % 4 != 3]
    ways = kinds()
    degraded = {name: [] for name in ways}
    step = max(1, len(people) // options.people)
    for number, person in enumerate(people[::step][: options.people]):
        pixels = np.asarray(reference.open_rgb(min(person.glob("*.jpg"))))
        found = embedding(models, pixels)
        if found is None:
            continue
        for which, (name, way) in enumerate(ways.items()):
            rng = np.random.default_rng((SEED, number, which))
            made = embedding(models, way(Degrader(rng, pixels, found[1])))
            if made is not None:
                degraded[name].append(made[0])
        if number % 50 == 0:
            print(f"person {number}", flush=True)
    photos = [photo for person in people for photo in sorted(person.glob("*.jpg"))]
    clear = [embedding(models, np.asarray(reference.open_rgb(photo))) for photo in photos]
    clear = np.array([found[0] for found in clear if found is not None])
    degraded = {name: np.array(made) for name, made in degraded.items() if len(made) >= LEAST_FACES}
    rows = fit(clear, list(degraded.values()))
    options.out.write_bytes(rows.astype("<f4").tobytes())
    print(f"{len(rows)} directions from {len(clear)} clear faces, {len(ways) - len(rows)} ways left out")


if __name__ == "__main__":
    main()
