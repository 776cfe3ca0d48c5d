// Runs in each Node program of a step, by NODE_OPTIONS: every connection to a PostgreSQL goes to the step's database.
//
// A driver names the database in its first message, which is the same in all of them. On the server of the step the name
// is replaced; a connection to another server is refused before it has said anything, because only the program has the
// password for one, and only we know that of ours. Programs that take their database from variables are led by those.
"use strict";

const fs = require("fs");
const net = require("net");

const VERSIONS = [196608, 196610]; // of the protocol: 3.0 and 3.2
const target = parse(process.env.DBTOOLS_LEAD_URL);

function parse(text) {
  if (!text) throw new Error("dbtools: this program cannot be led: DBTOOLS_LEAD_URL is not set");
  const [, place, database, query] = /^postgresql:\/\/(?:[^@/]*@)?([^/?]*)\/([^?]*)\??(.*)$/.exec(text);
  const more = new URLSearchParams(query);
  const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(place);
  return {
    hosts: (more.get("host") || decodeURIComponent(host).replace(/^\[|\]$/g, "")).split(","),
    ports: (more.get("port") || port || "5432").split(",").map(Number),
    database: more.get("dbname") || decodeURIComponent(database),
  };
}

function isLoopback(host) {
  return host === "localhost" || host === "::1" || /^(::ffff:)?127\./.test(host);
}

// Where a socket was told to go: net.connect has several forms, and hands on the first argument as a list.
const places = new WeakMap();
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  let [first, second] = given;
  if (Array.isArray(first)) [first, second] = first;
  if (first && typeof first === "object") places.set(this, { host: first.host, port: first.port, path: first.path });
  else if (isNaN(first)) places.set(this, { path: first });
  else places.set(this, { port: first, host: typeof second === "string" ? second : undefined });
  return connect.apply(this, given);
};

function placeOf(socket) {
  const { host, port, path } = places.get(socket) || (socket._parent && places.get(socket._parent)) || {};
  return path ? { host: path, port: "" } : { host: host || "localhost", port: Number(port || socket.remotePort) };
}

function isOurs(socket) {
  const { host, port } = placeOf(socket);
  return target.hosts.some((one, at) => {
    const number = target.ports[at] || target.ports[0];
    if (host.startsWith("/")) return host === `${one}/.s.PGSQL.${number}`;
    return port === number && ([host, socket.remoteAddress].includes(one) || (isLoopback(host) && isLoopback(one)));
  });
}

function readStartup(message) {
  if (!(message instanceof Uint8Array) || message.length < 9) return null;
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  if (bytes.readInt32BE(0) !== bytes.length || !VERSIONS.includes(bytes.readInt32BE(4))) return null;
  const words = bytes.toString("utf8", 8, bytes.length - 2).split("\0");
  const pairs = [];
  for (let at = 0; at + 1 < words.length; at += 2) pairs.push([words[at], words[at + 1]]);
  return { version: bytes.readInt32BE(4), pairs };
}

function writeStartup(version, pairs) {
  const head = Buffer.alloc(8);
  const body = Buffer.from(pairs.map((pair) => pair.join("\0") + "\0").join("") + "\0");
  head.writeInt32BE(head.length + body.length, 0);
  head.writeInt32BE(version, 4);
  return Buffer.concat([head, body]);
}

function record(text) {
  const path = process.env.DBTOOLS_RECORD;
  // What a program of Node reads is not known.
  if (path) fs.appendFileSync(path, `${JSON.stringify({ program: "node" })}\n${JSON.stringify({ led: text })}\n`);
}

const write = net.Socket.prototype.write;
const hasSpoken = new WeakSet();
net.Socket.prototype.write = function (message, ...more) {
  if (hasSpoken.has(this)) return write.call(this, message, ...more);
  const startup = readStartup(message);
  if (!startup) return write.call(this, message, ...more); // an SSLRequest, or no PostgreSQL
  hasSpoken.add(this);
  const named = new Map(startup.pairs);
  const { host, port } = placeOf(this);
  const database = named.get("database") || named.get("user");
  const shown = `${named.get("user")}@${host}${port && `:${port}`}/${database}`;
  if (!isOurs(this)) {
    this.destroy(new Error(`dbtools refused a connection to ${shown}: a step works on the database of DATABASE_URL`));
    return false;
  }
  if (database === target.database) return write.call(this, message, ...more);
  record(`node ${shown}`);
  named.set("database", target.database);
  return write.call(this, writeStartup(startup.version, [...named]), ...more);
};
