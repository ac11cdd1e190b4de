// Two client networks behind a router, as network namespaces. The router is the namespace of the test and has the servers. It
// forwards packets between the clients, so that they can connect directly, or drops them.
import { execFileSync, spawn } from 'node:child_process';
import { readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './processes.mjs';

/** The servers' address. The addresses are private, since the relay in the broker forwards nothing to public ones. */
export const SERVER = '10.9.0.1';

const namespaceOf = (process) => readlinkSync(`/proc/${process}/ns/net`);
const ip = (...parameters) => execFileSync('ip', parameters);

export function addServerAddress() {
  ip('address', 'add', `${SERVER}/32`, 'dev', 'lo');
}

/** Whether the clients reach each other without a relay. */
export function setDirectPath(isOpen) {
  writeFileSync('/proc/sys/net/ipv4/ip_forward', isOpen ? '1' : '0');
}

/**
 * Makes a network with one client, and returns the path of a program that starts Chromium in it.
 * @param {string} directory
 * @param {number} number
 */
export async function clientNetwork(directory, number) {
  const { pid } = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
  await until('a network namespace', () => namespaceOf(pid) !== namespaceOf('self'));
  const [inner, outer, router, client] = [`inner${number}`, `outer${number}`, `10.${number}.0.1`, `10.${number}.0.2`];
  const enter = ['nsenter', `--net=/proc/${pid}/ns/net`];
  const there = (...parameters) => execFileSync(enter[0], [enter[1], 'ip', ...parameters]);
  ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner);
  ip('link', 'set', inner, 'netns', String(pid));
  ip('address', 'add', `${router}/24`, 'dev', outer);
  ip('link', 'set', outer, 'up');
  there('address', 'add', `${client}/24`, 'dev', inner);
  there('link', 'set', inner, 'up');
  there('route', 'add', 'default', 'via', router);
  const program = join(directory, `chromium${number}.sh`);
  writeFileSync(program, `#!/bin/sh\nexec ${enter.join(' ')} "$CHROMIUM" "$@"\n`, { mode: 0o700 });
  return program;
}
