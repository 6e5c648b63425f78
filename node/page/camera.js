// The camera, and a face shown before it: one command after the other, pictures sent one after the other.

import { Refused, picture, post } from "./server.js";

const WIDTH = 640;
// Between two pictures, ms.
const PAUSE = 250;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function open(video) {
  const wanted = { audio: false, video: { facingMode: "user", width: { ideal: WIDTH }, height: { ideal: 480 } } };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  video.srcObject = stream;
  await video.play();
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  };
}

function taken(video, canvas) {
  const scale = WIDTH / Math.max(video.videoWidth, 1);
  canvas.width = WIDTH;
  canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => {
    canvas.toBlob((jpeg) => (jpeg ? done(jpeg) : failed(new Refused("no-camera", 0))), "image/jpeg", 0.85);
  });
}

// Shows a face until it is judged. `told` hears of each step, `helped` of each picture: a fault's name, or none.
export async function show(video, { told, helped, isOver }) {
  const canvas = document.createElement("canvas");
  let step = await post("face");
  told(step);
  for (;;) {
    if (isOver()) throw new Refused("stopped", 0);
    const next = pause(PAUSE);
    try {
      const reply = await picture(step.nonce, await taken(video, canvas));
      if (reply.judged) return reply;
      if (reply.nonce) told(step = reply);
      else helped(reply.again, reply.seen);
    } catch (refused) {
      // The same picture twice, or too many wait: the next one may do.
      if (!["picture-refused", "faces-busy"].includes(refused.name)) throw refused;
      if (refused.name === "faces-busy") {
        helped("busy");
        await pause(1000);
      }
    }
    await next;
  }
}
