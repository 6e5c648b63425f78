"""Measures how well the models tell people apart and a person from his picture, and prints docs/face.md's tables.

    measure.py MODELS DIRECTORY     DIRECTORY holds what these made there:
        pip download --no-deps --no-binary :all: face_recognition==1.3.0 insightface==0.7.3
        npm pack @vladmandic/face-api@1.7.15 @vladmandic/human@3.3.6
        and `tar xzf` of each

Who is who: by file name (two presidents), by being on one photo with others (groups), by eye (one man on a page of small faces, at the
places below; that page was sorted by another model's likeness, so the hardest pairs of him may lack).
"""

import itertools
import pathlib
import sys

import cv2
import numpy as np

import faces

# Middles of the one man's faces in assets/screenshot-facematch.jpg, pixels.
MAN = [
    (88, 109), (1650, 336), (50, 332), (155, 334), (1118, 341), (699, 333),
    (910, 336), (268, 330), (378, 330), (1336, 333), (482, 333), (1869, 333),
]


def screen(rgb, pitch=3):
    """A display as a camera sees it: stripes of colour, gamma, beats between both grids, a veil."""
    scale = 2 * faces.LONGEST / max(rgb.shape[:2])
    big = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grid = np.full(big.shape, 0.35, np.float32)
    for channel in range(3):
        grid[:, channel::pitch, channel] = 1.6
    grid[pitch - 1 :: pitch] *= 0.6
    shown = np.clip((big / 255) ** 1.15 * grid, 0, 1) * 255
    shown = cv2.GaussianBlur(cv2.resize(shown, None, fx=0.437, fy=0.437), (0, 0), 0.7)
    return np.clip(shown * 0.92 + 18, 0, 255).astype(np.uint8)


def paper(rgb):
    return np.clip(cv2.GaussianBlur(rgb.astype(np.float32) * 0.8 + 40, (0, 0), 0.9), 0, 255).astype(np.uint8)


def printed(rgb):
    """Halftone on paper with a border, held askew in front of a wall."""
    scale = 900 / max(rgb.shape[:2])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    y, x = np.mgrid[0 : small.shape[0], 0 : small.shape[1]]
    dots = 0.5 * np.sin((x + y) * 1.35) * np.sin((x - y) * 1.35)
    sheet = cv2.copyMakeBorder(paper(np.clip(small + dots[..., None] * 28, 0, 255).astype(np.uint8)), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(240, 238, 232))
    h, w = sheet.shape[:2]
    corners = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    askew = np.float32([[60, 90], [w + 20, 60], [w + 70, h + 60], [30, h + 110]])
    return cv2.warpPerspective(sheet, cv2.getPerspectiveTransform(corners, askew), (w + 130, h + 170), borderValue=(96, 82, 70))


def camera(rgb, noise=3, quality=80):
    scale = 640 / max(rgb.shape[:2])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = np.clip(small + np.random.default_rng(2).normal(0, noise, small.shape), 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def turned(rgb, degrees):
    h, w = rgb.shape[:2]
    return cv2.warpAffine(rgb, cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1), (w, h), borderMode=cv2.BORDER_REFLECT)


def main(models, directory):
    models, directory = faces.Models(models), pathlib.Path(directory)
    found = lambda pattern: sorted(directory.rglob(pattern))
    # (name of who is surely one person, or of a group on one photo; picture of him alone; what is seen)
    people, man = [], []
    for path in found("test_images/*.jpg"):
        if "partial" not in path.name:
            rgb = faces.read(path)
            people.append((path.stem.rstrip("0123456789"), path.stem, rgb, models.see(rgb)))
    for pattern in ("images/t1.jpg", "images/Tom_Hanks_54745.png", "demo/sample[1-6].jpg", "screenshot-facematch.jpg"):
        for path in found(pattern):
            whole = faces.read(path)
            is_page = "facematch" in path.name
            faces.LONGEST, kept = 4000, faces.LONGEST
            for box in models.faces(whole):
                middle, side = (box[:2] + box[2:]) / 2, 1.3 * max(box[2] - box[0], box[3] - box[1])
                if box[2] - box[0] < 55 or is_page and min(np.hypot(*(middle - place)) for place in MAN) > 12:
                    continue
                low, high = np.maximum(middle - side, 0).astype(int), np.minimum(middle + side, whole.shape[1::-1]).astype(int)
                rgb = whole[low[1] : high[1], low[0] : high[0]]
                seen = models.see(rgb)
                if seen is not None:
                    (man if is_page else people).append(("man" if is_page else "samples" if "sample" in path.name else path.stem, path.stem, rgb, seen))
            faces.LONGEST = kept
    alike = lambda a, b: float(np.dot(a[3]["embedding"], b[3]["embedding"]))
    same = [alike(a, b) for a, b in itertools.combinations(man, 2)]
    same += [alike(a, b) for a, b in itertools.combinations(people, 2) if a[0] == b[0] == "obama"]
    # Those of one photo are different people; those of different sets too; those of different sample photos may be the same.
    others = [alike(a, b) for a, b in itertools.combinations(people, 2) if a[0] != b[0] or a[1] == b[1]]
    others += [alike(a, b) for a, b in itertools.product(man, people)]
    print(f"{len(people) + len(man)} faces; {len(same)} pairs of one person, {len(others)} of two")
    for name, values in (("one person", same), ("two people", others)):
        print(f"{name}: least {min(values):.2f}, median {np.median(values):.2f}, most {max(values):.2f}")
    print("| same | one person refused | two people taken |")
    for line in (0.35, 0.4, 0.45, 0.5, 0.55):
        refused, taken = sum(v < line for v in same), sum(v >= line for v in others)
        print(f"| {line} | {refused} of {len(same)} | {taken} of {len(others)} |")
    print(f"none of {len(others)}: below {300 / len(others):.1f} % at 95 % (rule of three), were the pairs independent")
    big = [one for one in people if one[3]["width"] >= 72]
    changes = {
        "camera, noise, JPEG 80": camera,
        "dark (a third of the light)": lambda r: (r * 0.33).astype(np.uint8),
        "bright (half as much again)": lambda r: np.clip(r * 1.5, 0, 255).astype(np.uint8),
        "turned by 20 degrees": lambda r: turned(r, 20), "JPEG 30, noise": lambda r: camera(r, 8, 30),
        "a quarter of the size": lambda r: cv2.resize(r, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
        "blurred by 3 pixels": lambda r: cv2.GaussianBlur(r, (0, 0), 3),
    }
    print("\n| change | found | like the original, median | refused at 0.45 |")
    for name, change in changes.items():
        seen = [(one, models.see(change(one[2]))) for one in big]
        values = [float(np.dot(one[3]["embedding"], s["embedding"])) for one, s in seen if s]
        print(f"| {name} | {len(values)} of {len(big)} | {np.median(values):.2f} | {sum(v < 0.45 for v in values)} |")
    print("\n| picture | faces | alive, median | below 0.5 |")
    attacks = {"print, held askew": printed, "paper, flat, edge to edge": paper, "display, pitch 3": screen, "display, pitch 4": lambda r: screen(r, 4)}
    seen_by = {"the photo": lambda r: r, "camera": camera}
    seen_by |= {f"{name}, camera": (lambda r, attack=attack: camera(attack(r))) for name, attack in attacks.items()}
    for name, change in seen_by.items():
        values = [s["alive"] for s in (models.see(change(one[2])) for one in big) if s]
        print(f"| {name} | {len(values)} of {len(big)} | {np.median(values):.2f} | {sum(v < 0.5 for v in values)} |")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
