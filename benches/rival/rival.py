"""A competent face comparison service as one writes it in Python: FastAPI, ONNX Runtime, OpenCV, on the nets of the
default pack. Plain JSON in, plain JSON out: nothing signed, nothing stored, no quality measured. What Visavis is held
against in docs/lab/performance.md."""

import base64
import os

import cv2
import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

cv2.setNumThreads(1)
MODELS = os.environ["MODELS"]
TEMPLATE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)
STRETCH = np.array([128 / 96, 128 / 112])


def session(name):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(os.path.join(MODELS, name), options, providers=["CPUExecutionProvider"])


DETECTOR = session("yunet_s_dynamic.onnx")
REFINER = session("landmarks-regression-retail-0009.onnx")
EMBEDDER = session("face-reidentification-retail-0095.onnx")
MAPS = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]


def run(net, image, outputs=None):
    tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    return net.run(outputs, {net.get_inputs()[0].name: tensor})


def largest_face(image):
    """The largest box, (x, y, width, height), looked for at no more than 640 pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, 640 / max(height, width))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    padded = np.zeros((-(-small.shape[0] // 32) * 32, -(-small.shape[1] // 32) * 32, 3), np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small
    maps = run(DETECTOR, padded, MAPS)
    boxes, scores = [], []
    for i, stride in enumerate((8, 16, 32)):
        score = np.sqrt(np.clip(maps[i][0, :, 0], 0, 1) * np.clip(maps[3 + i][0, :, 0], 0, 1))
        cells = np.nonzero(score > 0.6)[0]
        columns = padded.shape[1] // stride
        box = maps[6 + i][0][cells]
        centre = (np.stack([cells % columns, cells // columns], 1) + box[:, :2]) * stride
        size = np.exp(box[:, 2:]) * stride
        boxes.append(np.concatenate([centre - size / 2, size], 1))
        scores.append(score[cells])
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.6, 0.3)
    if len(kept) == 0:
        return None
    return max((boxes[k] for k in np.array(kept).ravel()), key=lambda b: b[2] * b[3]) / scale


def embedding(data):
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    box = largest_face(image)
    if box is None:
        return None
    x, y, width, height = box
    left, top = max(0, int(x)), max(0, int(y))
    crop = cv2.resize(image[top : int(y + height), left : int(x + width)], (48, 48), interpolation=cv2.INTER_AREA)
    points = run(REFINER, crop)[0].reshape(5, 2) * [width, height] + [x, y]
    transform, _ = cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS)
    aligned = cv2.warpAffine(image, transform * STRETCH[:, None], (128, 128))
    vector = run(EMBEDDER, aligned)[0].ravel()
    return vector / np.linalg.norm(vector)


class Face(BaseModel):
    content: str


class Pair(BaseModel):
    face1: Face
    face2: Face


app = FastAPI()


@app.post("/compare")
async def compare(pair: Pair):
    def work():
        one, other = embedding(pair.face1.content), embedding(pair.face2.content)
        if one is None or other is None:
            return {"error": "no face"}
        return {"similarity": float(one @ other)}

    return await run_in_threadpool(work)
