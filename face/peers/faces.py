"""Sees faces as Qalqan's crate does, by another hand: ONNX Runtime, OpenCV, numpy. The oracle of its tests and the tool of its measurements.

    faces.py see MODELS PICTURE…    one line of JSON a picture
"""

import json
import pathlib
import sys

import cv2
import numpy as np
import onnxruntime

FILES = ("detect", "landmark", "feature", "liveness", "eye")
# Eyes, nose, corners of the mouth in an aligned face of 112 by 112 pixels (ArcFace).
ALIGNED = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
LONGEST = 960


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


class Models:
    def __init__(self, directory):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.nets = {
            name: onnxruntime.InferenceSession(str(pathlib.Path(directory) / f"fr_{name}.onnx"), options)
            for name in FILES
        }

    def run(self, name, pixels):
        """Pixels as height, width, channels, already scaled."""
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        return self.nets[name].run(None, {"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)})

    def faces(self, rgb):
        height, width = rgb.shape[:2]
        small = cv2.resize(rgb, (320, 240), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        scores, boxes = self.run("detect", (small - 127) / 128)
        scores = scores[0, :, 1]
        boxes = boxes[0] * [width, height, width, height]
        kept = []
        for n in np.argsort(-scores):
            if scores[n] < 0.65:
                break
            x0, y0, x1, y1 = boxes[n]
            size = (x1 - x0) * (y1 - y0)
            covered = lambda o: max(0, min(x1, o[2]) - max(x0, o[0])) * max(0, min(y1, o[3]) - max(y0, o[1])) / min(size, (o[2] - o[0]) * (o[3] - o[1]))
            if all(covered(other) < 0.4 for other in kept):
                kept.append(boxes[n])
        return sorted(kept, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1]))

    def see(self, rgb):
        if max(rgb.shape[:2]) > LONGEST:
            scale = LONGEST / max(rgb.shape[:2])
            rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = self.faces(rgb)
        if not faces:
            return None
        box = faces[0]
        area = square(box, 1.0, rgb)
        grey = cv2.cvtColor(cut(rgb, area, 64), cv2.COLOR_RGB2GRAY)
        points = self.run("landmark", grey / np.float32(256))[0].reshape(68, 2)
        points = points * (area[2] - area[0]) + area[:2]
        mean = lambda *which: points[list(which)].mean(axis=0)
        five = np.array([mean(37, 38, 40, 41), mean(43, 44, 46, 47), points[30], mean(48, 60), mean(54, 64)])
        face = cv2.warpAffine(rgb, similarity_to(five, ALIGNED), (112, 112), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        feature = self.run("feature", (face.astype(np.float32) - 127) / 128)[0][0]
        whole = cut(rgb, square(box, 2.7, rgb), 128)
        alive = softmax(self.run("liveness", whole[:, :, ::-1].astype(np.float32))[0][0])[0]
        eyes = [softmax(self.run("eye", cv2.cvtColor(eye(rgb, points, first), cv2.COLOR_RGB2GRAY) / np.float32(255))[0][0]) for first in (36, 42)]
        across = five[1] - five[0]
        apart = np.hypot(*across)
        turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) / apart
        upright = (five - (five[0] + five[1]) / 2) @ turn.T / apart
        light = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return {
            "faces": len(faces),
            "second": float(np.prod(np.diff(faces[1].reshape(2, 2), axis=0)) / np.prod(np.diff(box.reshape(2, 2), axis=0))) if len(faces) > 1 else 0.0,
            "width": float(box[2] - box[0]),
            "size": float((box[2] - box[0]) / rgb.shape[1]),
            "yaw": float(np.degrees(np.arctan(upright[2][0] / 0.55))),
            "pitch": float(np.degrees(np.arctan((0.60 - upright[2][1]) / 0.55))),
            "roll": float(np.degrees(np.arctan2(across[1], across[0]))),
            "smile": float(np.clip((np.hypot(*(upright[4] - upright[3])) - 0.6) / 0.7, 0, 1)),
            "eyes_open": float(np.mean([e[1] for e in eyes])),
            "alive": float(alive),
            "light": float(light.mean()),
            "sharp": float((np.diff(light, axis=0)[:, :-1] ** 2).mean() / 2 + (np.diff(light, axis=1)[:-1] ** 2).mean() / 2),
            "embedding": (feature / np.linalg.norm(feature)).tolist(),
            "points": points.tolist(),
            "box": [float(v) for v in box],
        }


def square(box, times, rgb):
    height, width = rgb.shape[:2]
    side = min((box[3] - box[1]) * times, width, height)
    left = np.clip((box[0] + box[2] - side) / 2, 0, width - side)
    top = np.clip((box[1] + box[3] - side) / 2, 0, height - side)
    return np.array([left, top, left + side, top + side])


def cut(rgb, area, side):
    """Bilinear samples at the middles of so many squares."""
    scale = (area[2] - area[0]) / side
    matrix = np.array([[scale, 0, area[0] + scale / 2 - 0.5], [0, scale, area[1] + scale / 2 - 0.5]])
    return cv2.warpAffine(rgb, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)


def eye(rgb, points, first):
    middle = points[[first + 1, first + 2, first + 4, first + 5]].mean(axis=0)
    half = max(abs(points[first + 3][0] - points[first][0]), 4) * 0.8
    return cut(rgb, np.concatenate([middle - half, middle + half]), 24)


def similarity_to(source, target):
    """The turn, scale and move with the least squares, as 2 by 3 (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    z = np.sum((a[:, 0] - 1j * a[:, 1]) * (b[:, 0] + 1j * b[:, 1])) / np.sum(a**2)
    linear = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.column_stack([linear, target.mean(axis=0) - linear @ source.mean(axis=0)])


def read(path):
    bgr = cv2.imread(str(path))
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


if __name__ == "__main__":
    models = Models(sys.argv[2])
    for name in sys.argv[3:]:
        print(json.dumps({"picture": name, "seen": models.see(read(name))}))
