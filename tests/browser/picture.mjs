// Runs in the browser: a video from a canvas instead of a camera. It is restless, so that an encoder uses the rate that it has, and small
// and slow, because encoders take most of the machine.

const SIZE = { width: 160, height: 120 };
const FRAME_MS = 100;
const BLOCK = 8;

/** @returns {MediaStreamTrack} */
export function restlessVideo() {
  const canvas = Object.assign(document.createElement('canvas'), SIZE);
  const context = canvas.getContext('2d');
  setInterval(() => {
    for (let x = 0; x < SIZE.width; x += BLOCK) {
      for (let y = 0; y < SIZE.height; y += BLOCK) {
        context.fillStyle = `hsl(${Math.random() * 360} 100% 50%)`;
        context.fillRect(x, y, BLOCK, BLOCK);
      }
    }
  }, FRAME_MS);
  return canvas.captureStream().getVideoTracks()[0];
}
