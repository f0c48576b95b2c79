// Follow the feed from Node 20 or later with the package `eventsource`, through restarts and token refreshes.
//
//     npm ci --prefix examples
//     ROSTER=http://127.0.0.1:8080 LOGIN=ada PASSWORD='correct horse battery staple' node examples/feed_node.mjs
//
// Prints one line for each event.
import process from "node:process";

import {EventSource} from "eventsource";

const {ROSTER, LOGIN, PASSWORD} = process.env;
// EventSource only dispatches types that have a listener.
const TYPES = ["user.created", "user.updated", "user.deleted", "session.ended", "token.ended"];

let tokens = await takeTokens("/v1/auth/login", {login: LOGIN, password: PASSWORD});

async function takeTokens(path, body) {
  const answer = await fetch(ROSTER + path, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
  });
  if (answer.status === 400 || answer.status === 401) {
    console.error("the session has ended; log in again");
    process.exit(1);
  }
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// EventSource calls this for every connection: the place to send the current token, and to refresh it.
async function fetchWithToken(url, init) {
  const attempt = () =>
    fetch(url, {...init, headers: {...init.headers, Authorization: `Bearer ${tokens.access_token}`}});
  let answer = await attempt();
  if (answer.status === 401) {
    tokens = await takeTokens("/v1/auth/refresh", {refresh_token: tokens.refresh_token});
    answer = await attempt();
  }
  // EventSource reconnects after a failed fetch, and gives up for ever on any status but 200.
  if (answer.status === 429 || answer.status >= 500) throw new Error(`${answer.status}`);
  return answer;
}

const source = new EventSource(`${ROSTER}/v1/feed`, {fetch: fetchWithToken});
for (const type of ["hello", "reset", "closing", ...TYPES]) {
  source.addEventListener(type, event => console.log(type, event.lastEventId, event.data));
}
source.addEventListener("error", event => {
  if (source.readyState === EventSource.CLOSED) {
    console.error("refused:", event.code, event.message);
    process.exit(1);
  }
});
