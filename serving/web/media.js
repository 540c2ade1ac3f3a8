// Pictures, sounds and videos of a query: chosen, dropped, pasted or recorded.

import {byId} from "./dom.js";

const LONGEST = 30; // seconds of a recording
const MOST_BYTES = 60_000_000;

// `kinds` are those that the server takes; `add(kind, blob, name)` and `complain(text)` are called back.
export function mediaInput({kinds, add, complain}) {
  const accepts = ["image", "audio", "video"].filter((kind) => kinds.includes(kind));
  if (accepts.length) chosenFiles(accepts, take);
  if (kinds.includes("audio")) recorder({add, complain});

  function take(files) {
    for (const file of files) {
      const kind = file.type.split("/")[0];
      if (!accepts.includes(kind)) {
        complain(`“${file.name}” is ${file.type || "of an unknown type"}; choose a ${accepts.join(" or ")} file.`);
      } else if (file.size > MOST_BYTES) {
        complain(`“${file.name}” has ${Math.round(file.size / 1e6)} MB; at most ${MOST_BYTES / 1e6} can be sent.`);
      } else {
        add(kind, file, file.name || kind);
        return; // one at a time: a second file is most often a mistake
      }
    }
  }
}

function chosenFiles(accepts, take) {
  const button = byId("picture");
  const input = byId("file");
  const drop = byId("drop");
  input.accept = accepts.map((kind) => `${kind}/*`).join(",");
  button.hidden = false;
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // each element that is entered and left tells of it
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    drop.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event) && --depth <= 0) drop.hidden = true;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    depth = 0;
    drop.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}

function recorder({add, complain}) {
  const button = byId("voice");
  const state = byId("voice-state");
  button.hidden = false;
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) {
    const why = "This browser records sound only on https or localhost; choose a sound file instead.";
    button.setAttribute("aria-disabled", "true");
    button.title = why;
    button.addEventListener("click", () => complain(why));
    return;
  }
  let running = null;
  let timer = 0;

  function tell(text) {
    state.textContent = text;
    state.hidden = !text;
    button.setAttribute("aria-pressed", String(Boolean(text)));
  }

  async function start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({audio: true});
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      complain(refused ? "The microphone is not allowed; allow it for this page." : "No microphone was found.");
      return;
    }
    const pieces = [];
    running = new MediaRecorder(stream);
    running.addEventListener("dataavailable", (event) => pieces.push(event.data));
    running.addEventListener("stop", () => {
      clearTimeout(timer);
      for (const track of stream.getTracks()) track.stop();
      const type = running.mimeType || "audio/webm";
      running = null;
      tell("");
      const blob = new Blob(pieces, {type});
      if (blob.size) add("audio", blob, `your voice.${type.includes("mp4") ? "m4a" : "webm"}`);
    });
    running.start();
    tell("Listening: say what you are looking for, then press the microphone again.");
    timer = setTimeout(() => running?.stop(), 1000 * LONGEST);
  }

  button.addEventListener("click", () => (running ? running.stop() : start()));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.stop();
  });
}
