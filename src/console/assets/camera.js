// A photo from the camera: of this page, or, where a page may not have one, from the device's own.

import { dialog, h, note, put } from "./dom.js";
import { texts } from "./texts.js";

const words = texts.camera;

/** Calls `taken` with a JPEG file, if one is taken. */
export function takePhoto(taken) {
  if (!navigator.mediaDevices?.getUserMedia) {
    // Phones open their camera for such a field; on other devices it chooses a file.
    const input = h("input", { type: "file", accept: "image/*", capture: "user" });
    input.addEventListener("change", () => input.files[0] && taken(input.files[0]));
    input.click();
    return;
  }
  let stream;
  const window = dialog(words.heading, (body, close) => {
    const video = h("video", { playsinline: true, muted: true, "aria-label": words.alt });
    video.muted = true;
    const shoot = h("button", { type: "button", disabled: true }, words.shoot);
    const state = h("div", {}, note("plain", words.starting));
    put(
      body,
      state,
      video,
      h("div", { class: "actions" }, shoot, h("button", { type: "button", class: "quiet", onclick: close }, texts.cancel)),
    );
    shoot.addEventListener("click", async () => {
      const file = await frame(video);
      close();
      taken(file);
    });
    start(video).then(
      (started) => {
        stream = started;
        // It may have been closed while the camera was asked for.
        if (!window.open) return stop(stream);
        put(state);
        shoot.disabled = false;
        shoot.focus();
      },
      () => put(state, note("bad", words.trouble)),
    );
  });
  window.addEventListener("close", () => stop(stream));
}

async function start(video) {
  const wanted = { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  video.srcObject = stream;
  await video.play();
  return stream;
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

async function frame(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  return new File([blob], words.name, { type: "image/jpeg" });
}
