// A person before the camera who is none: one photograph, bent by the browser into whatever the page asks for. Where PHOTO
// stands, the test puts the photograph in base64.
//
// It stands in for a person in the tests, and it is an attack that docs/lending.md owns up to: commands and passive anti-spoofing
// do not stop somebody who puts a program in the camera's place.
(() => {
  const [W, H] = [640, 480];
  // The face in the picture: its middle, width and height.
  const [fx, fy, w, h] = [316.6, 209, 207, 286];
  const photo = () => createImageBitmap(new Blob([Uint8Array.from(atob("PHOTO"), (c) => c.charCodeAt(0))]), 125, 0, 735, 551, { resizeWidth: W, resizeHeight: H, resizeQuality: "high" });

  const canvas = (draw) => {
    const made = Object.assign(document.createElement("canvas"), { width: W, height: H });
    draw(made.getContext("2d", { willReadFrequently: true }));
    return made;
  };

  // Each pixel comes from where `from` says, between four neighbours.
  const bent = (picture, from) => canvas((to) => {
    const source = picture.getContext("2d").getImageData(0, 0, W, H).data;
    const image = to.createImageData(W, H);
    for (let y = 0; y < H; y++) {
      for (let x = 0; x < W; x++) {
        const [sx, sy] = from(x, y);
        const [cx, cy] = [Math.min(Math.max(sx, 0), W - 1.001), Math.min(Math.max(sy, 0), H - 1.001)];
        const [ix, iy] = [Math.floor(cx), Math.floor(cy)];
        const [dx, dy] = [cx - ix, cy - iy];
        for (let c = 0; c < 4; c++) {
          const at = (iy * W + ix) * 4 + c;
          image.data[(y * W + x) * 4 + c] = (source[at] * (1 - dx) + source[at + 4] * dx) * (1 - dy)
            + (source[at + W * 4] * (1 - dx) + source[at + W * 4 + 4] * dx) * dy;
        }
      }
    }
    to.putImageData(image, 0, 0);
  });

  const mouth = (picture, by) => bent(picture, (x, y) => {
    const g = Math.exp(-(((x - fx) / (0.3 * w)) ** 2 + ((y - fy - 0.27 * h) / (0.15 * h)) ** 2));
    return [fx + (x - fx) * (1 - by * g), y];
  });
  const turned = (picture, by) => bent(picture, (x, y) => {
    const d = Math.exp(-(((x - fx) / (0.35 * w)) ** 2 + ((y - fy) / (0.5 * h)) ** 2));
    return [x - by * w * d, y];
  });
  const lids = (picture, by) => bent(picture, (x, y) => {
    const eye = (side) => Math.exp(-(((x - fx - side * 0.22 * w) / (0.16 * w)) ** 4));
    const d = Math.exp(-(((y - fy + 0.12 * h) / (0.06 * h)) ** 2)) * Math.max(eye(-1), eye(1));
    return [x, y - by * h * d];
  });
  const moved = (picture, degrees, times) => canvas((to) => {
    to.drawImage(picture, 0, 0);
    to.translate(W / 2, H / 2);
    to.rotate((degrees * Math.PI) / 180);
    to.scale(times, times);
    to.drawImage(picture, -W / 2, -H / 2);
  });

  async function poses() {
    const bitmap = await photo();
    const whole = canvas((to) => to.drawImage(bitmap, 0, 0));
    const rest = mouth(whole, -0.5);
    return {
      rest: [rest],
      "turn-left": [turned(rest, 0.25)],
      "turn-right": [turned(rest, -0.25)],
      "tilt-left": [moved(rest, 20, 1)],
      "tilt-right": [moved(rest, -20, 1)],
      "come-closer": [moved(rest, 0, 1.4)],
      smile: [mouth(whole, 0.6)],
      blink: [0.06, 0.07, 0.08, 0.1].map((by) => lids(rest, by)),
    };
  }

  navigator.mediaDevices.getUserMedia = async () => {
    const all = await poses();
    const shown = canvas(() => {});
    const to = shown.getContext("2d");
    let [asked, since, n] = ["rest", 0, 0];
    setInterval(() => {
      const href = document.querySelector("#command-picture use")?.getAttribute("href") ?? "#command-rest";
      const command = href.replace("#command-", "");
      if (command !== asked) [asked, since] = [command, Date.now()];
      // At rest at first, then as asked, then at rest again, as a person does.
      const phase = ((Date.now() - since) % 5000) / 1000;
      const pose = phase < 0.7 || phase > 4 || window.stays ? all.rest : all[asked];
      to.drawImage(pose[n++ % pose.length], 0, 0);
      // The noise of a camera: no two pictures are the same.
      to.fillStyle = `rgb(${n % 256}, ${(n * 7) % 256}, ${(n * 13) % 256})`;
      to.fillRect(n % W, H - 3, 3, 3);
    }, 100);
    return shown.captureStream(15);
  };
})();
