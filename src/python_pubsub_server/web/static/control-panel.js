/** The control panel: puts its parts together. Each part looks after one piece of the page. */
import * as access from "./page/access.js";
import { watchCopyButtons, writeCommands } from "./page/copy.js";
import { byId } from "./page/dom.js";
import { say } from "./page/language.js";
import { lossless } from "./page/lossless.js";
import { openShell } from "./page/shell.js";
import { showListings } from "./panel/listings.js";
import { Problems } from "./panel/problems.js";
import { PublishForm } from "./panel/publish.js";
import { Received } from "./panel/received.js";
import { Subscriptions } from "./panel/subscriptions.js";
import { PubSubClient } from "./pubsub-client.js";

const client = new PubSubClient(location.origin, { auth: access.handshake, json: lossless });
openShell(client);
const problems = new Problems();

function askForToken(error) {
  if (["unauthenticated", "token_expired"].includes(error.code)) byId("access").hidden = false;
}

client.on("error", (error) => {
  problems.report(error);
  askForToken(error);
});
client.on("unrecovered", ({ topic }) =>
  problems.report({ code: "gap", message: say("Some messages of {topic} are gone from the server.", { topic }) }),
);

writeCommands(document);
watchCopyButtons();
const refreshSoon = showListings(askForToken);
new PublishForm(client, refreshSoon);
new Subscriptions(client);
new Received(client, (error) => problems.report(error), refreshSoon);
client.on("subscribed", refreshSoon);
client.on("unsubscribed", refreshSoon);

byId("access").onsubmit = (event) => {
  event.preventDefault();
  access.keepToken(byId("access-token").value);
  byId("access").hidden = true;
  client.reconnect();
  refreshSoon();
};
