"""Makes a face in a photo act: turn, tilt, blink, smile, come closer. For tests of the page and the gate without a person.

    act.py MODELS PHOTO OUT.mjpeg ACT…     frames one after the other, 640 by 480, for Chromium:
                                           --use-fake-device-for-media-stream --use-file-for-fake-video-capture=OUT.mjpeg
    act.py MODELS PHOTO DIRECTORY ACT…     one JPEG a frame: DIRECTORY/0-rest-00.jpg, 1-turn-left-00.jpg and so on

ACT: rest, turn-left, turn-right, tilt-left, tilt-right, blink, smile, come-closer; each lasts two seconds of 10 frames each, begins
and ends at rest. Left is the person's own; nothing is mirrored. The face is bent, not modelled: commands are seen, a person is not
fooled, and passive anti-spoofing may or may not be (docs/face.md, "Attacks").
"""

import pathlib
import sys

import cv2
import numpy as np

import faces

FRAMES = 20
WIDTH, HEIGHT = 640, 480
# The face's share of the frame's width at rest.
SHARE = 0.28


class Actor:
    def __init__(self, models, rgb):
        seen = faces.Models(models)
        first = seen.see(rgb)
        if first is None:
            raise SystemExit("no face in the photo")
        scale = min(1, faces.LONGEST / max(rgb.shape[:2]))
        box = np.array(first["box"]) / scale
        zoom = SHARE * WIDTH / (box[2] - box[0])
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        place = np.array([[zoom, 0, WIDTH / 2 - zoom * middle[0]], [0, zoom, HEIGHT * 0.46 - zoom * middle[1]]])
        self.still = cv2.warpAffine(rgb, place, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
        points = np.array(seen.see(self.still)["points"])
        mean = lambda *which: points[list(which)].mean(axis=0)
        self.points = points
        self.eyes = [mean(37, 38, 40, 41), mean(43, 44, 46, 47)]
        self.apart = np.hypot(*(self.eyes[1] - self.eyes[0]))
        self.nose, self.middle = points[30], (self.eyes[0] + self.eyes[1]) / 2
        self.corners = [points[48], points[54]]

    def frame(self, act, amount):
        """Amount: 0 at rest to 1 done."""
        if act == "rest":
            return self.still
        if act in ("tilt-left", "tilt-right"):
            # The ear towards his left shoulder, which is right in the picture: clockwise.
            degrees = 20 * amount * (-1 if act == "tilt-left" else 1)
            matrix = cv2.getRotationMatrix2D(tuple(map(float, self.nose)), degrees, 1)
            return cv2.warpAffine(self.still, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        if act == "come-closer":
            matrix = cv2.getRotationMatrix2D(tuple(map(float, self.nose)), 0, 1 + 0.5 * amount)
            return cv2.warpAffine(self.still, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        if act in ("turn-left", "turn-right"):
            side = amount if act == "turn-left" else -amount
            # What stands out moves most: the tip of the nose, less the cheeks and the mouth, not the ears.
            return self.bent(
                [(self.nose, 0.42 * self.apart, 0.74 * self.apart * side, 0), (self.middle + [0, 0.6 * self.apart], 1.0 * self.apart, 0.24 * self.apart * side, 0)]
            )
        if act == "smile":
            by = 0.22 * self.apart * amount
            return self.bent([(corner, 0.30 * self.apart, by * (1 if n else -1), -0.5 * by) for n, corner in enumerate(self.corners)])
        if act == "blink":
            return self.blinked(amount)
        raise SystemExit(f"no such act: {act}")

    def bent(self, pushes):
        """Moves what is around points: (point, reach, by x, by y)."""
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        to_x, to_y = x.copy(), y.copy()
        for (at_x, at_y), reach, by_x, by_y in pushes:
            near = np.exp(-((x - at_x - by_x / 2) ** 2 + (y - at_y - by_y / 2) ** 2) / (2 * reach**2))
            to_x -= by_x * near
            to_y -= by_y * near
        return cv2.remap(self.still, to_x.astype(np.float32), to_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    def blinked(self, amount):
        """Draws the skin above each eye down over it, and a line of lashes."""
        made = self.still.copy()
        for first, middle in ((36, self.eyes[0]), (42, self.eyes[1])):
            eye = self.points[first : first + 6]
            half = 0.62 * np.hypot(*(eye[3] - eye[0]))
            top, bottom = eye[1:3, 1].min() - 2, eye[4:6, 1].max() + 2
            tall = bottom - top
            y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
            inside = np.clip(1.25 - ((x - middle[0]) / half) ** 2 - ((y - middle[1]) / (0.75 * tall)) ** 2, 0, 0.25) * 4
            lid = top + (tall + 1) * amount
            # A lid of skin as it is above the eye, stretched over the part that is covered.
            from_y = np.where(y < lid, top - 1 - (lid - y) * 0.35, y).astype(np.float32)
            skin = cv2.remap(cv2.GaussianBlur(self.still, (0, 0), 1.2), x, from_y, cv2.INTER_LINEAR)
            lash = np.exp(-((y - lid - 0.35 * tall * (((x - middle[0]) / half) ** 2) * -1) ** 2) / 2.5)[..., None] * (70 * amount)
            covered = np.clip(skin.astype(np.float32) - lash, 0, 255)
            mask = (inside * (y <= lid + 1))[..., None]
            made = made * (1 - mask) + covered * mask
        return made.round().astype(np.uint8)


def frames(actor, act):
    for n in range(FRAMES):
        # Rest, there, held, back, rest.
        amount = float(np.clip(min(n - 2, FRAMES - 3 - n) / 4, 0, 1))
        # Nobody holds still, and no camera is without noise.
        noise = np.random.default_rng(n).normal(0, 2, (HEIGHT, WIDTH, 1))
        yield np.clip(actor.frame(act, amount) + noise, 0, 255).astype(np.uint8)


def main(models, photo, out, *acts):
    actor = Actor(models, faces.read(photo))
    out = pathlib.Path(out)
    as_jpeg = lambda rgb: cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    if out.suffix == ".mjpeg":
        with out.open("wb") as file:
            for act in acts:
                file.writelines(map(as_jpeg, frames(actor, act)))
        return
    out.mkdir(parents=True, exist_ok=True)
    for step, act in enumerate(acts):
        for n, rgb in enumerate(frames(actor, act)):
            (out / f"{step}-{act}-{n:02}.jpg").write_bytes(as_jpeg(rgb))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
