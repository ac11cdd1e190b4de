// A test picture that keeps an encoder busy: noise under a name and a clock. The clock shows whether the picture moves and
// when it stopped.

const [WIDTH, HEIGHT] = [640, 360];
const FRAMES_PER_SECOND = 24;
const NOISE = 512;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** @param {string} name @param {number} hue In degrees. @returns {MediaStreamTrack} */
export function sceneTrack(name, hue) {
  const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext('2d', { alpha: false });
  const noise = noiseTile(hue);
  const startedAt = performance.now();
  const track = canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0];
  // Animation frames would stop while the page is hidden.
  if (context) setInterval(() => draw(context, noise, name, hue, performance.now() - startedAt), 1000 / FRAMES_PER_SECOND);
  return track;
}

/** @param {number} hue */
function noiseTile(hue) {
  const tile = Object.assign(document.createElement('canvas'), { width: NOISE, height: NOISE });
  const context = tile.getContext('2d');
  if (!context) return tile;
  for (let y = 0; y < NOISE; y += 4) {
    for (let x = 0; x < NOISE; x += 4) {
      context.fillStyle = `hsl(${hue + 50 * Math.random()} 60% ${20 + 45 * Math.random()}%)`;
      context.fillRect(x, y, 4, 4);
    }
  }
  return tile;
}

/** @param {CanvasRenderingContext2D} context @param {HTMLCanvasElement} noise @param {string} name @param {number} hue @param {number} ms */
function draw(context, noise, name, hue, ms) {
  const shift = () => Math.floor(Math.random() * NOISE);
  const [left, top] = [shift(), shift()];
  for (let x = -left; x < WIDTH; x += NOISE) {
    for (let y = -top; y < HEIGHT; y += NOISE) context.drawImage(noise, x, y);
  }
  const turn = ms / 1_400;
  const glow = context.createRadialGradient(WIDTH / 2, HEIGHT / 2, 20, WIDTH / 2, HEIGHT / 2, 300);
  glow.addColorStop(0, `hsl(${hue} 70% 16% / 0.94)`);
  glow.addColorStop(1, `hsl(${hue} 70% 16% / 0.2)`);
  context.fillStyle = glow;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  for (let n = 0; n < 6; n += 1) {
    const angle = turn + (n * Math.PI) / 3;
    context.fillStyle = `hsl(${hue + n * 12} 85% 68%)`;
    context.beginPath();
    context.arc(WIDTH / 2 + 225 * Math.cos(angle), HEIGHT / 2 + 120 * Math.sin(angle), 12, 0, 2 * Math.PI);
    context.fill();
  }
  context.fillStyle = '#ffffff';
  context.textAlign = 'center';
  context.font = `700 76px ${FONT}`;
  context.fillText(name, WIDTH / 2, HEIGHT / 2 + 8);
  context.font = `500 36px ${FONT}`;
  const seconds = ms / 1_000;
  context.fillText(`${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, '0')}`, WIDTH / 2, HEIGHT / 2 + 62);
}
