// The benchmark's room on Colyseus: a schema state, the default patch rate, the ws transport.
//
//   node colyseus_server.mjs <port> <seats>
//
// Something changes in every tick, and each command changes one of a player's eight fields.

import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { schema, t } from "@colyseus/schema";

const [port, seats] = process.argv.slice(2).map(Number);
const TICK_MS = 50;

const number = () => t.number().default(0);
const Player = schema({
  value: number(), x: number(), y: number(), angle: number(),
  health: number(), score: number(), team: number(), level: number(),
});
const State = schema({ beat: number(), players: t.map(Player) });

class Bench extends Room {
  maxClients = seats;
  state = new State();
  messages = {
    set: (client, value) => {
      this.state.players.get(client.sessionId).value = value;
    },
  };

  onCreate() {
    this.setSimulationInterval(() => { this.state.beat++; }, TICK_MS);
  }

  onJoin(client) {
    this.state.players.set(client.sessionId, new Player());
  }

  onLeave(client) {
    this.state.players.delete(client.sessionId);
  }
}

const server = new Server({ transport: new WebSocketTransport(), greet: false });
server.define("bench", Bench).filterBy(["group"]);
await server.listen(port, "127.0.0.1", 1024);
console.log(JSON.stringify({ event: "listening" }));
