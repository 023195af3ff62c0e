// The benchmark's room on bare ws: one timer for all rooms, each room's frame built once and
// written to each socket as it is. Nothing is checked but the form, nothing is kept.
//
//   node ws_server.mjs <port>
//
// A connection to /<room> plays there. A command is [1, value] in MessagePack; a delta is a flat
// list [beat, seat, field, value, seat, field, value, ...].

import { createServer } from "node:http";
import { Sender, WebSocketServer } from "ws";

const port = Number(process.argv[2]);
const TICK_MS = 50;
const VALUE_AT = 3; // Behind the array's head, the tag and the head of the value.
const HEAD = { fin: true, opcode: 2, mask: false, readOnly: true, rsv1: false };
const rooms = new Map();

class Room {
  sockets = new Set();
  players = new Map(); // By seat: eight fields.
  beat = 0;
  changes = new Map(); // By seat: the new value of field 1.
  seats = 0;
}

function packed(room) {
  const bytes = Buffer.allocUnsafe(8 + 9 * room.changes.size);
  let at = bytes.writeUInt8(0xdc, 0);
  at = bytes.writeUInt16BE(1 + 3 * room.changes.size, at);
  at = bytes.writeUInt8(0xce, at);
  at = bytes.writeUInt32BE(room.beat, at);
  for (const [seat, value] of room.changes) {
    at = bytes.writeUInt8(0xcc, at);
    at = bytes.writeUInt8(seat & 0xff, at);
    at = bytes.writeUInt8(1, at);
    at = bytes.writeUInt8(0xce, at);
    at = bytes.writeUInt32BE(value, at);
  }
  return bytes.subarray(0, at);
}

function tick(room) {
  room.beat++;
  const frame = Buffer.concat(Sender.frame(packed(room), HEAD));
  room.changes.clear();
  for (const socket of room.sockets) {
    socket.write(frame);
  }
}

let due = performance.now();
function beat() {
  for (const room of rooms.values()) {
    tick(room);
  }
  // A late tick does not shift later ones.
  due = Math.max(due + TICK_MS, performance.now() - TICK_MS);
  setTimeout(beat, Math.max(due - performance.now(), 0));
}
setTimeout(beat, TICK_MS);

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false, maxPayload: 4096 });
server.on("connection", (client, request) => {
  let room = rooms.get(request.url);
  if (room === undefined) {
    room = new Room();
    rooms.set(request.url, room);
  }
  const seat = room.seats++;
  const player = new Array(8).fill(0);
  room.players.set(seat, player);
  room.sockets.add(client._socket);
  client.on("message", (data) => {
    if (data.length === 7 && data[0] === 0x92 && data[1] === 1 && data[2] === 0xce) {
      player[0] = data.readUInt32BE(VALUE_AT);
      room.changes.set(seat, player[0]);
    }
  });
  client.on("close", () => {
    room.sockets.delete(client._socket);
    room.players.delete(seat);
    if (room.sockets.size === 0) {
      rooms.delete(request.url);
    }
  });
});
http.listen(port, "127.0.0.1", 1024, () => console.log(JSON.stringify({ event: "listening" })));
