// A TCP proxy in a process of its own that delays all bytes in both directions, like a slow network.
// Usage: node bench/delay-proxy.js <port of the server> <milliseconds>. Sends its own port to its parent process.
import { connect, createServer } from 'node:net';

const [port, millis] = process.argv.slice(2).map(Number);

const server = createServer((client) => {
  const upstream = connect(port, '127.0.0.1');
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ]) {
    from.setNoDelay(true);
    from.on('data', (chunk) => setTimeout(() => to.write(chunk), millis));
    from.on('error', () => to.destroy());
    from.on('close', () => setTimeout(() => to.destroy(), millis));
  }
});
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
process.on('disconnect', () => process.exit());
