// Nextcloud Talk's event in php-cli (talk.php), page by page.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Talk {
  #php;
  #lines;

  /** @param {string} broker @param {string} key @param {string} [cache] `none` for a Nextcloud without one. */
  constructor(broker, key, cache = '') {
    this.#php = spawn('php', ['talk.php', broker, key, cache], { cwd: import.meta.dirname, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface(this.#php.stdout)[Symbol.asyncIterator]();
  }

  /**
   * What Talk would give: `servers`, and the `log` of the listener.
   * @param {string} user Empty for a guest.
   * @param {number} [later] The seconds since the last page.
   */
  async page(user, later = 0) {
    this.#php.stdin.write(`${JSON.stringify({ user, later })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('php has ended');
    return JSON.parse(value);
  }

  stop() { this.#php.kill(); }
}
