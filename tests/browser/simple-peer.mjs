// simple-peer is no module: in a page it is a global. Bundlers make this module from it.
import '/node_modules/simple-peer/simplepeer.min.js';

export default globalThis.SimplePeer;
