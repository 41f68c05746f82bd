"""Trains models/face-cover.onnx, the net that says which part of a face something hides.

It needs a folder with a folder of photos for each person, and the detector and landmark nets of the
default pack. Photos of half of the people are painted over with synthetic covers (masks, scarves,
hands, sunglasses, bars, pasted, blurred and pixelated areas); the net learns to tell them from the
untouched photos, from harmless additions (clear glasses, hats, small things) and from photos whose
border cuts the face. README.md says how to run this.
"""

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

import make_reference as reference

SEED = 20261130
EPOCHS = 5
SIDE = 64
# Where the five landmarks lie in the crop: left eye, right eye, nose, left and right mouth corner,
# as seen in the picture. Forehead and chin are inside.
TEMPLATE = np.array([(23.0, 26.0), (41.0, 26.0), (32.0, 36.0), (24.5, 46.0), (39.5, 46.0)])

OUTPUTS = ("eyes", "mouth", "side")
# Shares of a region that are hidden: up to the first it is free, from the second on covered. What
# lies between is not used.
FREE, COVERED = 0.2, 0.6
# A region counts if at least this share of it is inside the photo.
INSIDE = 0.5
# Pictures made of each photo for training: one half of the photos the first and the second way, the
# other half the third way, with more of what is hard. And crops made of each picture.
ROUNDS = {"untouched": 3, "harmless": 2, "covered": 6}
# Without these, black covers pass for the black beyond a photo's border, and beards for covers.
COUNTER_ROUNDS = {"half": 2, "beard": 1}
HARD_ROUNDS = {"untouched": 1, "harmless": 2, "covered": 1, "cut": 4, "mouth": 2, "hand": 2}
CROPS = 2

# Photos for training that show a part of the face hidden already, mostly by dark glasses. They
# would teach that such faces are free.
HIDDEN = {
    "Alexandre_Vinokourov_0001",
    "Alvaro_Uribe_0033",
    "Ariel_Sharon_0072",
    "Candice_Bergen_0001",
    "David_Gest_0001",
    "Dick_Vermeil_0001",
    "Hootie_Johnson_0001",
    "Jack_Nicholson_0001",
    "Jessica_Lange_0001",
    "Joey_Mantia_0001",
    "Laurence_Fishburne_0001",
    "Megawati_Sukarnoputri_0012",
    "Nicholas_Tse_0001",
    "Patricia_Clarkson_0004",
    "Paula_Radcliffe_0004",
    "Pedro_Almodovar_0003",
    "Qais_al-Kazali_0001",
    "Recep_Tayyip_Erdogan_0026",
    "Rita_Grande_0002",
    "Steffi_Graf_0004",
    "Teresa_Williams_0001",
}


# ─── Geometry ─────────────────────────────────────────────────────────────────────────────────────


def crop_matrix(points):
    """The 2 x 3 matrix of the least-squares similarity from picture to crop."""
    return reference.SimilarityTransform.from_estimate(points, TEMPLATE).params[:2]


def warp(pixels, matrix):
    """The crop: block averages where the picture is much larger, then bilinear, black outside."""
    shrink = 1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = math.floor(shrink)
    if factor >= 2:
        height, width = (side // factor for side in pixels.shape[:2])
        whole = np.ascontiguousarray(pixels[: height * factor, : width * factor])
        pixels = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        offset = (factor - 1) / 2
        matrix = matrix @ np.array([(factor, 0, offset), (0, factor, offset), (0, 0, 1)])
    return cv2.warpAffine(pixels, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def box_region(*boxes):
    """Crop pixels inside one of the boxes (left, top, right, bottom)."""
    row, column = np.mgrid[:SIDE, :SIDE]
    inside = np.zeros((SIDE, SIDE), bool)
    for left, top, right, bottom in boxes:
        inside |= (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
    return inside


EYES = box_region((17, 23, 29, 29), (35, 23, 47, 29))
MOUTH = box_region((24, 41, 40, 51))
LEFT = box_region((16, 21, 31, 52))
RIGHT = box_region((33, 21, 48, 52))


def hidden_shares(alpha, matrix):
    """Hidden shares of eyes, mouth and the more hidden side, of a cover painted on a picture.

    Each is a share of what the picture shows of the region; not a number if it shows too little.
    """
    seen, inside = warp(alpha, matrix), warp(np.ones_like(alpha), matrix)

    def share(region):
        shown = inside[region].mean()
        return seen[region].mean() / shown if shown >= INSIDE else math.nan

    sides = share(LEFT), share(RIGHT)
    side = np.fmax(*sides)
    if np.isnan(sides).any() and side < COVERED:
        side = math.nan
    return share(EYES), share(MOUTH), side


# ─── Shapes: polygons in crop coordinates ─────────────────────────────────────────────────────────


class Painter:
    """Paints on one picture, in the coordinates of the crop of its face."""

    def __init__(self, rng, pixels, matrix, others):
        self.rng = rng
        self.original = pixels
        self.pixels = pixels.astype(np.float32)
        self.alpha = np.zeros(pixels.shape[:2], np.float32)
        self.back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
        self.scale = math.sqrt(abs(np.linalg.det(self.back[:, :2])))
        self.matrix = matrix
        self.others = others

    def between(self, low, high):
        return self.rng.uniform(low, high)

    def chance(self, share):
        return self.rng.random() < share

    def mask_of(self, polygons, soft=0.0):
        """0 to 1 for each pixel of the picture: inside of the polygons, with soft edges."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        for polygon in polygons:
            points = np.asarray(polygon) @ self.back[:, :2].T + self.back[:, 2]
            fixed = np.round(points * 16).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
        mask = mask.astype(np.float32) / 255
        if soft > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), soft)
        return mask

    # Shapes.

    def oval(self, x, y, half_width, half_height, power=2.0, turn=0.0):
        angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        cos, sin = np.cos(angle), np.sin(angle)
        px = half_width * np.sign(cos) * np.abs(cos) ** (2 / power)
        py = half_height * np.sign(sin) * np.abs(sin) ** (2 / power)
        return self.turned(np.stack([px, py], 1), turn) + (x, y)

    def rectangle(self, left, top, right, bottom, turn=0.0):
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        return self.turned(corners - middle, turn) + middle

    @staticmethod
    def turned(points, degrees):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return points @ np.array([(c, s), (-s, c)])

    def blob(self, x, y, half_width, half_height):
        """A polygon of random corners or a wavy closed curve round the middle."""
        if self.chance(0.4):
            count = self.rng.integers(4, 9)
            angle = np.sort(self.rng.uniform(0, 2 * math.pi, count))
            reach = self.rng.uniform(0.75, 1.15, count)
        else:
            angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
            reach = np.ones(40)
            for wave in range(2, 6):
                reach += self.between(0, 0.25 / wave) * np.sin(wave * angle + self.between(0, 6.3))
        points = np.stack([np.cos(angle) * half_width, np.sin(angle) * half_height], 1)
        return points * reach[:, None] + (x, y)

    def capsule(self, start, end, radius):
        """A finger: a thick line with round ends."""
        start, end = np.array(start, float), np.array(end, float)
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        half = np.linspace(-math.pi / 2, math.pi / 2, 9)
        tip = np.stack([np.cos(angle + half), np.sin(angle + half)], 1) * radius + end
        base = np.stack([np.cos(angle + math.pi + half), np.sin(angle + math.pi + half)], 1)
        return np.concatenate([tip, base * radius + start])

    def hand(self, x, y, size):
        """A palm and four fingers, their roots at the palm, pointing one way."""
        direction = self.between(0, 360)
        spread = self.between(0.2, 0.62)
        polygons = [self.oval(0, 0, size * 0.75, size * 0.8, 2.6)]
        for finger in range(4):
            offset = (finger - 1.5) * size * 0.4
            lean = (finger - 1.5) * spread * size * self.between(0.2, 0.8)
            length = size * self.between(0.8, 1.5)
            radius = size * self.between(0.17, 0.23)
            start, end = (offset, -size * 0.4), (offset + lean, -size * 0.7 - length)
            polygons.append(self.capsule(start, end, radius))
        shift = np.array([x, y]) - self.turned(np.array([(0.0, -size * 0.7)]), direction)[0]
        return [self.turned(polygon, direction) + shift for polygon in polygons]

    # Fillings: a picture of the size of the photo.

    def colour(self):
        kind = self.rng.integers(6)
        if kind == 0:
            return np.full(3, self.rng.choice([0, 8, 20, 40]), np.float32)
        if kind == 1:
            return np.full(3, self.rng.choice([225, 245, 255]), np.float32)
        if kind == 2:
            return np.full(3, self.between(0, 255), np.float32)
        if kind == 3:
            return self.skin()
        return self.rng.uniform(0, 255, 3).astype(np.float32)

    def skin(self):
        """The colour of a cheek, or that of another tone."""
        if self.chance(0.3):
            tone = self.between(0.2, 1.0)
            base = np.array([235, 190, 160]) * tone + self.rng.normal(0, 8, 3)
            return np.clip(base, 0, 255).astype(np.float32)
        x, y = self.rng.choice([18.0, 46.0]), self.between(34, 42)
        column, row = self.back @ (x, y, 1)
        height, width = self.alpha.shape
        row, column = int(np.clip(row, 3, height - 4)), int(np.clip(column, 3, width - 4))
        patch = self.original[row - 3 : row + 4, column - 3 : column + 4]
        base = patch.mean(axis=(0, 1)) * self.between(0.8, 1.2) + self.rng.normal(0, 5, 3)
        return np.clip(base, 0, 255).astype(np.float32)

    def field(self, grain):
        """Smooth random numbers, mean 0 and deviation 1, with features of so many pixels."""
        height, width = self.alpha.shape
        shape = (max(2, int(height / grain) + 2), max(2, int(width / grain) + 2))
        small = self.rng.normal(0, 1, shape).astype(np.float32)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)

    def ramp(self, turn=None):
        """0 to 1 across the face in one direction."""
        turn = self.between(0, 2 * math.pi) if turn is None else turn
        height, width = self.alpha.shape
        row, column = np.mgrid[:height, :width].astype(np.float32)
        x = self.matrix[0, 0] * column + self.matrix[0, 1] * row + self.matrix[0, 2]
        y = self.matrix[1, 0] * column + self.matrix[1, 1] * row + self.matrix[1, 2]
        return ((x - 32) * math.cos(turn) + (y - 36) * math.sin(turn)) / 40 + 0.5

    def filling(self, kind=None):
        kinds = ("flat", "gradient", "cloth", "pattern", "pasted", "skin", "blur", "pixels")
        kind = kind or self.rng.choice(kinds, p=(0.26, 0.1, 0.2, 0.12, 0.14, 0.1, 0.04, 0.04))
        full = np.ones((*self.alpha.shape, 1), np.float32)
        if kind == "flat":
            return full * self.colour()
        if kind == "gradient":
            t = np.clip(self.ramp(), 0, 1)[..., None]
            return self.colour() * t + self.colour() * (1 - t)
        if kind == "cloth":
            shade = 1 + self.between(0, 0.15) * self.field(self.scale * self.between(6, 16))
            if self.chance(0.6):
                wave = self.ramp(self.between(1.2, 1.9)) * self.between(15, 60)
                shade += self.between(0.02, 0.15) * np.sin(wave + self.field(self.scale * 12))
            if self.chance(0.5):
                shade += self.between(0.1, 0.5) * (self.ramp() - 0.5)
            weave = self.between(0, 8) * self.field(self.between(1, 3))
            return full * self.colour() * shade[..., None] + weave[..., None]
        if kind == "pattern":
            return self.pattern(full)
        if kind == "pasted":
            return self.pasted()
        if kind == "skin":
            wide = self.scale * self.between(5, 10)
            tone = cv2.GaussianBlur(self.original, (0, 0), wide).astype(np.float32)
            if self.chance(0.6):
                tone = full * self.skin()
            shade = 1 + self.between(0, 0.2) * self.field(self.scale * self.between(4, 12))
            shade += self.between(0, 0.6) * (self.ramp() - 0.5)
            grain = self.between(0, 5) * self.field(self.between(1, 3))
            return tone * shade[..., None] + grain[..., None]
        if kind == "blur":
            strong = self.scale * self.between(4, 9)
            return cv2.GaussianBlur(self.original, (0, 0), strong).astype(np.float32)
        block = self.scale * self.between(6, 14)
        height, width = self.alpha.shape
        size = (max(2, round(width / block)), max(2, round(height / block)))
        small = cv2.resize(self.original, size, interpolation=cv2.INTER_AREA)
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        return large.astype(np.float32)

    def pattern(self, full):
        first, second = self.colour(), self.colour()
        across = np.sin(self.ramp() * self.between(12, 110))
        if self.chance(0.6):
            across = across * np.sin(self.ramp() * self.between(12, 110))
        if self.chance(0.3):
            across = self.field(self.scale * self.between(1.5, 6))
        t = np.clip(across * self.between(1, 6) + self.between(0.2, 0.8), 0, 1)[..., None]
        shade = 1 + 0.1 * self.field(self.scale * 10)
        return full * (first * t + second * (1 - t)) * shade[..., None]

    def pasted(self):
        """Background of another photo: its upper or lower corners, enlarged."""
        other = self.others[self.rng.integers(len(self.others))]
        side = other.shape[0]
        part = int(side * self.between(0.12, 0.26))
        top = self.rng.choice([0, side - part])
        left = self.rng.choice([0, other.shape[1] - part])
        patch = other[top : top + part, left : left + part]
        tile = int(self.scale * self.between(30, 90))
        patch = cv2.resize(patch, (tile, tile), interpolation=cv2.INTER_LINEAR)
        height, width = self.alpha.shape
        again = (height // tile + 2, width // tile + 2)
        y, x = self.rng.integers(tile), self.rng.integers(tile)
        tiled = np.tile(np.concatenate([patch, patch[:, ::-1]], 1), (*again, 1))
        tiled = np.concatenate([tiled, tiled[::-1]], 0)
        return tiled[y : y + height, x : x + width].astype(np.float32)

    def put(self, polygons, filling, opacity=1.0, soft=None, counts=True):
        """Lays a filling over the polygons, sometimes with a shadow or a rim."""
        soft = self.between(0, 0.5) * self.scale if soft is None else soft
        mask = self.mask_of(polygons, soft)
        if self.chance(0.3):
            depth = self.between(0.1, 0.5)
            shadow = cv2.GaussianBlur(mask, (0, 0), self.scale * self.between(0.7, 2.5))
            self.pixels *= (1 - depth * shadow)[..., None]
        if self.chance(0.2):
            edge = mask - cv2.erode(mask, np.ones((3, 3)), iterations=1 + int(self.scale / 2))
            filling = filling * (1 - edge[..., None] * self.between(0, 0.7))
        cover = (mask * opacity)[..., None]
        self.pixels = self.pixels * (1 - cover) + np.clip(filling, 0, 255) * cover
        if counts:
            self.alpha = np.maximum(self.alpha, mask * opacity)

    # Covers.

    def cover(self):
        kinds = (
            self.mask,
            self.mouth_area,
            self.scarf,
            self.sunglasses,
            self.eyes_bar,
            self.half,
            self.hands,
            self.sheet,
            self.blobs,
        )
        share = (0.2, 0.17, 0.05, 0.17, 0.12, 0.11, 0.06, 0.06, 0.06)
        kinds[self.rng.choice(len(kinds), p=share)]()
        if self.chance(0.07):
            kinds[self.rng.choice(len(kinds), p=share)]()

    def mask(self):
        """A surgical or cloth mask, with its loops, over nose and mouth or slipped below."""
        top = self.between(29, 37) if self.chance(0.85) else self.between(37, 41)
        side = top + self.between(0, 5)
        width = self.between(15, 21)
        low = self.between(52, 62)
        jaw = self.between(0.45, 0.8) * width
        shift = self.between(-2, 2)
        bridge = self.between(2, 7)
        outline = [
            (32 - width, side),
            (32 - bridge, top),
            (32 + bridge, top),
            (32 + width, side),
            (32 + width * 0.95, (side + low) / 2 + 2),
            (32 + jaw, low),
            (32 - jaw, low),
            (32 - width * 0.95, (side + low) / 2 + 2),
        ]
        outline = np.array(outline) + (shift, 0)
        if self.chance(0.5):
            outline = smoothed(outline)
        kind = self.rng.choice(["cloth", "flat", "pattern", "gradient", "pasted"],
                               p=(0.5, 0.16, 0.14, 0.1, 0.1))
        filling = self.filling(kind)
        if self.chance(0.5):
            colour = filling[0, 0] * self.between(0.7, 1.2)
            for sign in (-1, 1):
                for height in (side + 1, (side + low) / 2 + 3):
                    ear = (32 + sign * self.between(22, 27), self.between(26, 38))
                    loop = self.capsule((32 + sign * width * 0.95, height), ear, 0.5)
                    self.put([loop], np.broadcast_to(colour, filling.shape), counts=False)
        self.put([outline], filling)

    def mouth_area(self):
        """A rectangle, oval or blob over the mouth, or over mouth and nose."""
        x = 32 + self.between(-2.5, 2.5)
        top = self.between(28, 38) if self.chance(0.6) else self.between(38, 42)
        bottom = self.between(50, 66)
        half = self.between(9, 24)
        turn = self.rng.normal(0, 5)
        y = (top + bottom) / 2
        kind = self.rng.integers(3)
        if kind == 0:
            shape = self.rectangle(x - half, top, x + half, bottom, turn)
        elif kind == 1:
            high = (bottom - top) / 2
            shape = self.oval(x, y, half * 1.1, high * 1.15, self.between(2, 5), turn)
        else:
            shape = self.blob(x, y, half * 1.15, (bottom - top) / 2 * 1.2)
        self.put([shape], self.filling())

    def scarf(self):
        top = self.between(32, 41)
        steps = np.linspace(2, 62, 12)
        wave = top + self.rng.normal(0, 0.8, 12) + self.between(-0.1, 0.1) * (steps - 32)
        upper = np.stack([steps, wave + self.between(-0.006, 0.006) * (steps - 32) ** 2], 1)
        shape = np.concatenate([upper, [(66, 72), (64, 95), (0, 95), (-2, 72)]])
        self.put([shape], self.filling(self.rng.choice(["cloth", "pattern", "pasted"])))

    def sunglasses(self):
        width, high = self.between(6.2, 9.5), self.between(4.6, 8)
        power = self.between(2, 6)
        drop = self.between(-0.5, 2.5)
        lenses = []
        for sign in (-1, 1):
            lens = self.oval(0, 0, width, high, power, sign * self.between(-4, 10))
            if self.chance(0.35):
                # Aviators are narrower below.
                lens[:, 0] *= 1 - np.clip(lens[:, 1], 0, None) / high * 0.25
            lenses.append(lens + (32 + sign * self.between(8.7, 9.6), 26 + drop))
        rim = self.colour() if self.chance(0.5) else np.full(3, self.between(0, 60), np.float32)
        frame = np.broadcast_to(rim, self.pixels.shape)
        thick = self.between(0.3, 1.4)
        bars = [self.capsule((30, 24 + drop), (34, 24 + drop), self.between(0.4, 1.2))]
        for sign in (-1, 1):
            end = (32 + sign * self.between(20, 25), 24 + self.between(-2, 3))
            bars.append(self.capsule((32 + sign * (9 + width), 24 + drop), end, thick * 0.8))
        self.put(bars, frame, counts=False)
        self.put([(lens - lens.mean(0)) * (1 + thick / width) + lens.mean(0) for lens in lenses],
                 frame, counts=False, soft=0.4)
        dark = self.rng.uniform(0, 50) + self.rng.uniform(0, 25, 3)
        if self.chance(0.2):
            dark = self.rng.uniform(0, 200, 3)
        glass = np.ones((*self.alpha.shape, 1), np.float32) * dark.astype(np.float32)
        if self.chance(0.6):
            light = self.between(20, 110)
            sky = np.clip(self.ramp(self.between(1.0, 2.2)) - 0.1, 0, 1)
            glass = glass + sky[..., None] * light
        if self.chance(0.4):
            glint = np.clip(self.field(self.scale * self.between(3, 8)) - 0.6, 0, 1.2)
            glass = glass + glint[..., None] * self.between(20, 150)
        if self.chance(0.2):
            glass = glass * 0.4 + self.pasted() * 0.5
        self.put(lenses, glass, opacity=self.between(0.8, 1.0), soft=0.4)

    def eyes_bar(self):
        """A bar, oval or blob over both eyes."""
        top, bottom = self.between(12, 22), self.between(29.5, 35)
        half = self.between(15.5, 25)
        x, turn = 32 + self.between(-2, 2), self.rng.normal(0, 3)
        y, high = (top + bottom) / 2, (bottom - top) / 2
        kind = self.rng.integers(4)
        if kind < 2:
            shapes = [self.rectangle(x - half, top, x + half, bottom, turn)]
        elif kind == 2:
            shapes = [self.blob(x, y, half * 1.1, high * 1.2)]
        else:
            size = self.between(6, 9)
            shapes = [self.blob(23, 26, size, size), self.blob(41, 26, size, size)]
        self.put(shapes, self.filling())

    def half(self, black=False):
        """The left, right, upper or lower half, at most to the outline of the face."""
        edge = self.between(-5, 5)
        far = self.between(20, 50)
        kind = self.rng.integers(4)
        if kind == 0:
            shape = self.rectangle(32 - far, -12, 32 + edge, 90, self.rng.normal(0, 4))
        elif kind == 1:
            shape = self.rectangle(32 + edge, -12, 32 + far, 90, self.rng.normal(0, 4))
        elif kind == 2:
            shape = self.rectangle(32 - far, self.between(-10, 8), 32 + far, 32 + edge)
        else:
            shape = self.rectangle(32 - far, 35 + edge, 32 + far, self.between(58, 95))
        filling = np.full_like(self.pixels, self.between(0, 12)) if black else self.filling()
        if self.chance(0.3):
            mask = self.mask_of([shape]) * self.mask_of([self.oval(32, 34, 22, 30)], 1.0)
            self.pixels = self.pixels * (1 - mask[..., None])
            self.pixels += np.clip(filling, 0, 255) * mask[..., None]
            self.alpha = np.maximum(self.alpha, mask)
        else:
            self.put([shape], filling)

    def mouth_only(self):
        """A bar, oval or blob over the mouth alone, often in a colour that faces have there."""
        x, turn = 32 + self.between(-2, 2), self.rng.normal(0, 4)
        top, bottom, half = self.between(40, 44.5), self.between(50.5, 60), self.between(8.5, 15)
        y, high = (top + bottom) / 2, (bottom - top) / 2
        kind = self.rng.integers(5)
        if kind < 3:
            shape = self.rectangle(x - half, top, x + half, bottom, turn)
        elif kind == 3:
            shape = self.oval(x, y, half * 1.1, high * 1.15, self.between(2, 5), turn)
        else:
            shape = self.blob(x, y, half * 1.1, high * 1.2)
        filling = self.filling()
        if self.chance(0.65):
            colour = self.skin()
            if self.chance(0.67):
                lips_or_beard = [(150, 80, 75), (90, 62, 48)][self.rng.integers(2)]
                colour = np.array(lips_or_beard) * self.between(0.3, 1.6) + self.rng.normal(0, 9, 3)
            filling = np.broadcast_to(colour.astype(np.float32), self.pixels.shape)
        self.put([shape], filling)

    def near_hands(self):
        """Larger hands, before the mouth or an eye."""
        self.hands([(32, 46), (32, 46), (32, 49), (23, 27), (41, 27)], (8, 15))

    def hands(self, places=((32, 46), (32, 46), (32, 26), (22, 36), (42, 36)), sizes=(7, 13)):
        x, y = places[self.rng.integers(len(places))]
        both = self.chance(0.3)
        for side in (-7, 7) if both else (0,):
            shape = self.hand(x + side + self.between(-3, 3), y + self.between(-3, 3),
                              self.between(*sizes))
            self.put(shape, self.filling("skin"))
            if self.chance(0.7):
                # Lines between the fingers.
                dark = self.pixels * self.between(0.45, 0.85)
                for polygon in shape[1:]:
                    ring = np.concatenate([polygon, polygon[::-1] * 0.94 + polygon.mean(0) * 0.06])
                    self.put([ring], dark, counts=False, soft=0.3)

    def sheet(self):
        """A phone, a cup, a microphone, a sheet of paper: something held before the face."""
        places = [(32, 47), (32, 50), (20, 36), (44, 36), (32, 26)]
        x, y = places[self.rng.integers(len(places))]
        half, high, turn = self.between(7, 18), self.between(8, 22), self.between(-40, 40)
        outer = self.rectangle(x - half, y - high, x + half, y + high, turn)
        self.put([outer], self.filling())
        if self.chance(0.5):
            inner = (outer - outer.mean(0)) * self.between(0.5, 0.9) + outer.mean(0)
            self.put([inner], self.filling(), counts=False)

    def blobs(self):
        for _ in range(self.rng.integers(1, 4)):
            shape = self.blob(self.between(16, 48), self.between(20, 54), self.between(5, 16),
                              self.between(5, 16))
            self.put([shape], self.filling())

    # Additions that hide little.

    def addition(self):
        kinds = (self.glasses, self.hat, self.small, self.below, self.beside, self.beard)
        share = (0.32, 0.14, 0.16, 0.12, 0.12, 0.14)
        kinds[self.rng.choice(len(kinds), p=share)]()

    def glasses(self):
        """Clear glasses: a frame, now and then a tint or a reflection."""
        width, high = self.between(6, 9), self.between(3.8, 7)
        power, drop = self.between(2, 6), self.between(-0.5, 2.5)
        thick = self.between(0.25, 1.3)
        colour = self.colour() if self.chance(0.4) else np.full(3, self.between(0, 90), np.float32)
        frame = np.broadcast_to(colour, self.pixels.shape)
        before = self.pixels.copy()
        outer, inner = [], []
        for sign in (-1, 1):
            lens = self.oval(0, 0, width, high, power)
            middle = (32 + sign * self.between(8.7, 9.6), 26 + drop)
            inner.append(lens + middle)
            outer.append(lens * (1 + thick / width) + middle)
        bars = [self.capsule((30, 24.5 + drop), (34, 24.5 + drop), thick * 0.6)]
        for sign in (-1, 1):
            end = (32 + sign * self.between(20, 25), 24 + self.between(-2, 3))
            bars.append(self.capsule((32 + sign * (9 + width), 24 + drop), end, thick * 0.6))
        self.put(outer + bars, frame, counts=False, soft=0.3)
        # What lies behind the glass is as before, but for tint and glare.
        tint = self.between(0, 0.3) if self.chance(0.4) else 0.0
        seen = before * (1 - tint) + self.colour() * tint
        if self.chance(0.3):
            glare = np.clip(self.field(self.scale * self.between(2, 6)) - 1.2, 0, 1)
            seen = seen + glare[..., None] * self.between(30, 160)
        glass = self.mask_of(inner, 0.4)[..., None]
        self.pixels = self.pixels * (1 - glass) + np.clip(seen, 0, 255) * glass

    def hat(self):
        """A hat or fringe down to the eyebrows at most."""
        low = self.between(6, 18)
        steps = np.linspace(0, 64, 10)
        edge = low + self.rng.normal(0, 0.7, 10) - self.between(-0.006, 0.01) * (steps - 32) ** 2
        shape = np.concatenate([np.stack([steps, edge], 1), [(64, -60), (0, -60)]])
        self.put([shape], self.filling(self.rng.choice(["cloth", "pattern", "pasted", "flat"])))

    def small(self):
        """Little things anywhere on the face."""
        for _ in range(self.rng.integers(1, 4)):
            size = self.between(1, 4)
            shape = self.blob(self.between(12, 52), self.between(8, 58), size, size)
            self.put([shape], self.filling())

    def below(self):
        """Collars, scarves and hands that reach the chin but not the mouth."""
        top = self.between(53, 60)
        left, right = self.between(-5, 20), self.between(44, 70)
        shape = self.rectangle(left, top, right, 95, self.between(-6, 6))
        self.put([shape], self.filling())

    def beside(self):
        """Hair, walls or other heads at one side of the face."""
        edge, turn = self.between(-4, 13), self.rng.normal(0, 5)
        shape = self.rectangle(-40, -30, edge, 100, turn)
        if self.chance(0.5):
            shape = shape * (-1, 1) + (64, 0)
        self.put([shape], self.filling())

    def beard(self):
        """Hair round the mouth that leaves the lips free: a beard or a moustache."""
        hair = np.full(3, self.between(10, 200), np.float32) + self.rng.normal(0, 8, 3)
        grain = self.field(self.between(1, 2.5))[..., None] * self.between(5, 30)
        filling = np.ones((*self.alpha.shape, 1), np.float32) * hair + grain
        opacity = self.between(0.3, 0.95)
        lips = self.mask_of([self.oval(32, 46.5, self.between(7, 9), self.between(2.2, 3.5))], 1.0)
        beard = np.zeros_like(self.alpha)
        if self.chance(0.7):
            wide, high = self.between(12, 20), self.between(11, 18)
            beard = self.mask_of([self.oval(32, 47 + self.between(2, 6), wide, high, 3)], 2.0)
            beard *= 1 - self.mask_of([self.oval(32, 33, 15, 9)], 2.0)
        if self.chance(0.7):
            lip = self.oval(32, 41.8, self.between(6, 9), self.between(1.3, 2.5), 3)
            beard = np.maximum(beard, self.mask_of([lip], 0.7))
        cover = (beard * (1 - lips) * opacity)[..., None]
        self.pixels = self.pixels * (1 - cover) + np.clip(filling, 0, 255) * cover


def smoothed(outline):
    """Corners cut twice (Chaikin)."""
    for _ in range(2):
        following = np.roll(outline, -1, axis=0)
        near, far = outline * 0.75 + following * 0.25, outline * 0.25 + following * 0.75
        outline = np.stack([near, far], 1).reshape(-1, 2)
    return outline


# ─── Degradations: they must not pass for a cover, nor hide one ───────────────────────────────────


def degraded(rng, pixels, scale):
    """Worse light, focus, colour, compression or noise, each now and then."""
    image = pixels.astype(np.float32)
    if rng.random() < 0.15:
        image = image * rng.uniform(0.1, 0.7)
    if rng.random() < 0.1:
        image = (image - 128) * rng.uniform(0.3, 1.6) + rng.uniform(90, 170)
    if rng.random() < 0.1:
        image = image * rng.uniform(0.75, 1.25, 3)
    if rng.random() < 0.12:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.08:
        height, width = image.shape[:2]
        across = np.linspace(rng.uniform(0.3, 1.6), rng.uniform(0.3, 1.6), width)
        image = image * across[None, :, None].astype(np.float32)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6) * scale)
    if rng.random() < 0.1:
        height, width = image.shape[:2]
        factor = rng.uniform(0.2, 0.6)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.15:
        shape = image.shape if rng.random() < 0.6 else (*image.shape[:2], 1)
        image = image + rng.normal(0, rng.uniform(3, 35), shape)
    image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = int(rng.uniform(8, 70))
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
    return image


# ─── Samples ──────────────────────────────────────────────────────────────────────────────────────


def half_overlaps(face, other):
    """Whether two boxes are of the same face."""
    return reference.overlap(face, other) > 0.3


def find(models, pixels, near=None):
    """Refined landmarks of the largest face, or of the one at `near`; nothing if there is none."""
    image = reference.Image.fromarray(pixels)
    models.detector.setInputSize(image.size)
    rows = models.detector.detect(np.ascontiguousarray(pixels[..., ::-1]))[1]
    if rows is None:
        return None
    rows = [row for row in rows if near is None or half_overlaps(row, near)]
    if not rows:
        return None
    face = max(rows, key=lambda row: row[2] * row[3]).astype(np.float64)
    return face, reference.refine(models, image, face)


def jittered(rng, matrix):
    """The matrix with the errors of other detectors: shift, size and rotation."""
    size = math.exp(rng.normal(0, 0.045))
    turn = math.radians(rng.normal(0, 3))
    c, s = size * math.cos(turn), size * math.sin(turn)
    dx, dy = rng.normal(0, 1.1, 2)
    about = np.array([(c, -s, 32 + dx - 32 * c + 32 * s), (s, c, 32 + dy - 32 * s - 32 * c)])
    return about @ np.vstack([matrix, (0, 0, 1)])


def labels_of(shares):
    """1 for a covered region, 0 for a free one, -1 for one between."""
    return [1 if share >= COVERED else 0 if share <= FREE else -1 for share in shares]


def cut(rng, pixels, face, points):
    """The picture without a part of the face's box at one side or two, its box and landmarks."""
    x, y, w, h = face[:4]
    left, top, right, bottom = 0, 0, pixels.shape[1], pixels.shape[0]
    first = rng.choice(4, p=(0.16, 0.2, 0.16, 0.48))
    for side in {first, rng.integers(4)} if rng.random() < 0.2 else {first}:
        share = rng.uniform(0.03, 0.28)
        if side == 0:
            left = max(left, round(x + share * w))
        elif side == 1:
            top = max(top, round(y + share * h))
        elif side == 2:
            right = min(right, round(x + w - share * w))
        else:
            bottom = min(bottom, round(y + h - share * h))
    face, points = face.copy(), points - (left, top)
    face[:2] -= left, top
    return np.ascontiguousarray(pixels[top:bottom, left:right]), face, points


def samples_of(rng, models, pixels, face, clean, others, kind):
    """Crops of one painted picture, each degraded and aligned in its own way, and the labels.

    None if the face is not found any more, usually.
    """
    if kind == "cut":
        pixels, face, clean = cut(rng, pixels, face, clean)
        kind = rng.choice(["untouched", "harmless", "covered"], p=(0.5, 0.15, 0.35))
    matrix = crop_matrix(clean)
    painter = Painter(rng, pixels, matrix, others)
    if kind == "mouth":
        painter.mouth_only()
    elif kind == "hand":
        painter.near_hands()
    elif kind == "half":
        painter.half(black=painter.chance(0.7))
    elif kind == "beard":
        painter.beard()
    elif kind == "covered":
        painter.cover()
        if painter.chance(0.15):
            painter.addition()
    elif kind == "harmless":
        painter.addition()
    painted = np.clip(painter.pixels, 0, 255)
    labels = labels_of(hidden_shares(painter.alpha, matrix))
    box = None
    for number in range(CROPS):
        image = degraded(rng, painted, painter.scale)
        points = clean
        if number == 0:
            found = find(models, image, near=face)
            if found is None and rng.random() < 0.7:
                return
            box = found[0] if found else face
        if rng.random() < 0.9:
            points = reference.refine(models, reference.Image.fromarray(image), box)
        fit = crop_matrix(points)
        if rng.random() < 0.8:
            fit = jittered(rng, fit)
        yield warp(image, fit), labels


def people_of(folder, part):
    """Every second person is for training, of the rest every second for selection."""
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    return {"train": people[::2], "selection": people[1::4], "test": people[3::4]}[part]


def photos_of(folder, part):
    return [photo for person in people_of(folder, part) for photo in sorted(person.glob("*.jpg"))]


def make_samples(models, photos, numbers, rounds, seed):
    """Crops (N, 64, 64, 3) in RGB and labels (N, 3) of the photos of these numbers.

    `rounds` says how many pictures of each kind are made of a photo; any photo may be pasted from.
    """
    pictures = [np.asarray(reference.open_rgb(photo)) for photo in photos]
    crops, labels = [], []
    numbers = [number for number in numbers if photos[number].stem not in HIDDEN]
    for done, number in enumerate(numbers):
        rng = np.random.default_rng((seed, number))
        found = find(models, pictures[number])
        if found is None:
            continue
        for kind, count in rounds.items():
            for _ in range(count):
                made = samples_of(rng, models, pictures[number], *found, pictures, kind)
                for crop, label in made:
                    crops.append(crop)
                    labels.append(label)
        if done % 250 == 0:
            print(f"photo {done} of {len(numbers)}, {len(crops)} samples", flush=True)
    return np.array(crops), np.array(labels)


# ─── The net ──────────────────────────────────────────────────────────────────────────────────────

# Output channels and strides of the 3 x 3 convolutions.
STAGES = ((16, 2), (24, 2), (24, 1), (40, 2), (40, 1), (64, 2), (64, 1))
NARROW = 24


class Cover(nn.Module):
    """RGB from 0 to 255 to three logits: eyes, mouth, side."""

    def __init__(self):
        super().__init__()
        layers, before = [], 3
        for channels, stride in STAGES:
            layers += [
                nn.Conv2d(before, channels, 3, stride, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        layers += [nn.Conv2d(before, NARROW, 1, bias=False), nn.BatchNorm2d(NARROW), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        cells = SIDE // math.prod(stride for _, stride in STAGES)
        self.head = nn.Linear(NARROW * cells * cells, len(OUTPUTS))

    def forward(self, crops):
        return self.head(self.drop(self.features(crops / 127.5 - 1).flatten(1)))


def varied(rng, crops):
    """A batch of crops as the net's input, some mirrored, all with other light and colour."""
    batch = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    mirrored = torch.from_numpy(rng.random(len(crops)) < 0.5)
    batch[mirrored] = batch[mirrored].flip(3)
    gain = rng.uniform(0.8, 1.2, (len(crops), 1, 1, 1))
    gain = gain * rng.uniform(0.95, 1.05, (len(crops), 3, 1, 1))
    shift = rng.normal(0, 6, (len(crops), 1, 1, 1))
    batch = batch * torch.from_numpy(gain).float() + torch.from_numpy(shift).float()
    return batch.clamp(0, 255)


def loss_of(logits, labels):
    """Cross entropy of the labels that count. A false alarm costs twice as much as a miss."""
    known = labels >= 0
    target = labels.clamp(min=0).float()
    weight = known.float() * torch.where(target > 0, 1.0, 2.0)
    each = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weight).sum() / weight.sum()


def predict(net, crops):
    net.eval()
    with torch.no_grad():
        parts = [
            net(torch.from_numpy(crops[first : first + 512]).permute(0, 3, 1, 2).float())
            for first in range(0, len(crops), 512)
        ]
    return torch.cat(parts).numpy()


def report(logits, labels):
    """Of each output, the share of covers recognised where one free region in 1000 is flagged."""
    texts = []
    for index, name in enumerate(OUTPUTS):
        free = logits[labels[:, index] == 0, index]
        covered = logits[labels[:, index] == 1, index]
        limit = np.quantile(free, 0.999)
        texts.append(f"{name} {(covered > limit).mean():.3f} above {limit:.2f}")
    return ", ".join(texts)


def train(crops, labels, selection, epochs, seed, batch=128, rate=3e-3):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Cover()
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    steps = epochs * (len(crops) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1
    )
    targets = torch.from_numpy(labels)
    for epoch in range(epochs):
        net.train()
        order = rng.permutation(len(crops))
        total = 0.0
        for first in range(0, len(order) - batch + 1, batch):
            chosen = np.sort(order[first : first + batch])
            loss = loss_of(net(varied(rng, crops[chosen])), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(order) // batch)
        print(f"epoch {epoch}: loss {mean:.4f}; {report(predict(net, selection[0]), selection[1])}",
              flush=True)
    return net.eval()


# ─── Export ───────────────────────────────────────────────────────────────────────────────────────


def folded(convolution, norm):
    """Weight and bias of a convolution with its batch norm in it."""
    with torch.no_grad():
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = convolution.weight * factor[:, None, None, None]
        return weight.numpy(), (norm.bias - norm.running_mean * factor).numpy()


def as_onnx(net):
    """The graph: input `face` [1, 3, 64, 64], output `covered` [1, 3], probabilities."""
    make = onnx.helper.make_node
    nodes, constants, value = [], [], "face"
    modules = list(net.features)
    for number in range(0, len(modules), 3):
        convolution, norm = modules[number], modules[number + 1]
        weight, bias = folded(convolution, norm)
        pads = list(convolution.padding) * 2
        if number == 0:
            # The scaling of the input, 2 x / 255 - 1, needs the value 127.5 outside the crop, so
            # it stays a step of its own.
            constants += [
                numpy_helper.from_array(np.float32(1 / 127.5), "scale"),
                numpy_helper.from_array(np.float32(1), "one"),
            ]
            nodes.append(make("Mul", [value, "scale"], ["scaled"]))
            nodes.append(make("Sub", ["scaled", "one"], ["centred"]))
            value = "centred"
        name = f"conv{number // 3}"
        constants += [
            numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"),
            numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"),
        ]
        nodes.append(make("Conv", [value, f"{name}.weight", f"{name}.bias"], [name], pads=pads,
                          strides=list(convolution.stride), kernel_shape=weight.shape[2:]))
        nodes.append(make("Relu", [name], [f"{name}.relu"]))
        value = f"{name}.relu"
    with torch.no_grad():
        constants += [
            numpy_helper.from_array(net.head.weight.numpy(), "head.weight"),
            numpy_helper.from_array(net.head.bias.numpy(), "head.bias"),
        ]
    nodes += [
        make("Flatten", [value], ["flat"], axis=1),
        make("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
        make("Sigmoid", ["logits"], ["covered"]),
    ]
    real = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "face-cover",
        [onnx.helper.make_tensor_value_info("face", real, [1, 3, SIDE, SIDE])],
        [onnx.helper.make_tensor_value_info("covered", real, [1, len(OUTPUTS)])],
        constants,
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="holds faces/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = reference.Models(options.shared / "models")
    folder = options.shared / "faces/calibration"
    few = {"untouched": 2, "harmless": 1, "covered": 3}
    photos = photos_of(folder, "selection")
    selection = make_samples(models, photos, range(0, len(photos), 2), few, SEED + 1)
    photos = photos_of(folder, "train")
    numbers = [n for first in range(8) for n in range(first, len(photos), 8)]
    half = sum(n % 8 < 4 for n in numbers)
    crops, labels = make_samples(models, photos, numbers[:half], ROUNDS, SEED)
    hard = make_samples(models, photos, numbers[half:], HARD_ROUNDS, SEED)
    counter = make_samples(models, photos, numbers[:half], COUNTER_ROUNDS, SEED + 2)
    crops = np.concatenate([crops, hard[0], counter[0]])
    labels = np.concatenate([labels, hard[1], counter[1]])
    net = train(crops, labels, selection, options.epochs, SEED)
    onnx.save(as_onnx(net), options.out)


if __name__ == "__main__":
    main()
