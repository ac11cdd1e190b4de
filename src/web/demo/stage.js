// What both windows show of the call: this window's picture and the other's, the camera, the bit rate, and the path of the media.
import { Call } from './call.js';
import { $, choice, put } from './page.js';
import { sceneTrack } from './scene.js';
import { mb } from './words.js';

/**
 * Runs an action on click. An error is shown below the story.
 * @param {string} id @param {() => Promise<void>} action @param {() => boolean} [isOff] Whether the button stays disabled.
 */
export const onClick = (id, action, isOff = () => false) => $(id).addEventListener('click', async () => {
  const button = $(id, HTMLButtonElement);
  button.disabled = true;
  put('action-fault', '');
  try {
    await action();
  } catch (error) {
    put('action-fault', error instanceof Error ? error.message : String(error));
  } finally {
    button.disabled = isOff();
  }
});

export class Stage {
  /** The call that is going on, or the last one. @type {Call | null} */
  call = null;
  #mbps = 3.5;
  /** @type {MediaStreamTrack | null} */
  #camera = null;
  #scene;
  #mine = $('mine', HTMLVideoElement);
  #theirs = $('theirs', HTMLVideoElement);

  /** @param {string} me @param {string} other @param {number} hue Of the test picture, in degrees. */
  constructor(me, other, hue) {
    this.me = me;
    this.other = other;
    this.#scene = sceneTrack(me, hue);
    this.#show();
    put('mine-name', me);
    put('theirs-name', other);
    onClick('camera', () => this.#switchCamera());
    choice('mbps', (chosen) => {
      this.#mbps = Number(chosen);
      void this.call?.limit(this.#mbps);
    });
    // Browsers give pages without TLS a camera on this machine only.
    if (!navigator.mediaDevices) $('camera', HTMLButtonElement).disabled = true;
  }

  get #track() {
    return this.#camera ?? this.#scene;
  }

  #show() {
    this.#mine.srcObject = new MediaStream([this.#track]);
    put('camera', this.#camera ? 'Use the test picture' : 'Use my camera');
    $('camera').setAttribute('aria-pressed', String(this.#camera !== null));
  }

  /** Joins the room. @param {string} room @param {(call: Call) => void} changed Called for each new state. */
  join(room, changed) {
    const seen = (/** @type {MediaStreamTrack} */ track) => {
      this.#theirs.srcObject = new MediaStream([track]);
    };
    this.call = new Call({ room, track: this.#track, mbps: this.#mbps, seen, changed });
    return this.call;
  }

  /** Keeps the last counts, and the last picture of the other window as the poster, since an ended track shows black. */
  keep() {
    this.showCounts();
    put('theirs-note', '');
    const video = this.#theirs;
    if (video.videoWidth && video.srcObject) {
      const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext('2d')?.drawImage(video, 0, 0);
      video.poster = canvas.toDataURL('image/jpeg', 0.8);
    }
    video.srcObject = null;
  }

  /** @param {boolean} isRunning @param {boolean} isCut */
  light(isRunning, isCut) {
    $('screen').classList.toggle('is-still', !isRunning);
    $('cut').hidden = !isCut;
  }

  /** Shows the last sample. */
  showCounts() {
    if (!this.call?.last.path) return;
    const { path, received, sent, framesPerSecond } = this.call.last;
    put('path', `${path}, received ${mb(received)} MB, sent ${mb(sent)} MB`);
    put('theirs-note', `${framesPerSecond} frames/s`);
  }

  async #switchCamera() {
    if (this.#camera) {
      this.#camera.stop();
      this.#camera = null;
    } else {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
      this.#camera = stream.getVideoTracks()[0];
    }
    this.#show();
    await this.call?.send(this.#track);
  }
}
