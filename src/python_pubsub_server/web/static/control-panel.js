/** The control panel: puts its parts together. Each part looks after one piece of the page. */
import * as access from "./page/access.js";
import { byId } from "./page/dom.js";
import { say } from "./page/language.js";
import { lossless } from "./page/lossless.js";
import { watch } from "./page/monitoring.js";
import { openShell } from "./page/shell.js";
import { keepTimes } from "./page/text.js";
import { Alarms } from "./panel/alarms.js";
import { Clients } from "./panel/clients.js";
import { Sent, Templates } from "./panel/drafts.js";
import { showListings } from "./panel/listings.js";
import { Overview } from "./panel/overview.js";
import { leadTo, Places } from "./panel/places.js";
import { Problems } from "./panel/problems.js";
import { PublishForm } from "./panel/publish.js";
import { Received } from "./panel/received.js";
import { Subscriptions } from "./panel/subscriptions.js";
import { Topics } from "./panel/topics.js";
import { TopicView } from "./topic/view.js";
import { PubSubClient } from "./pubsub-client.js";

const client = new PubSubClient(location.origin, { auth: access.handshake, json: lossless });
openShell(client);
const problems = new Problems();

client.on("error", (error) => access.isRefusal(error) || problems.report(error));
client.on("unrecovered", ({ topic }) =>
  problems.report({ code: "gap", message: say("Some messages of {topic} are gone from the server.", { topic }) }),
);

keepTimes();

const title = document.title; // in the reader's language by now
const overview = new Overview();
const alarms = new Alarms();
const topics = new Topics();
const clients = new Clients();
const refreshSoon = showListings([topics, clients]);
const form = new PublishForm(client, (draft) => {
  sent.add(draft);
  refreshSoon();
});
const sent = new Sent(form);
new Templates(form);
new Received(client, (error) => problems.report(error), refreshSoon);
new Subscriptions(client);
client.on("subscribed", refreshSoon);
client.on("unsubscribed", refreshSoon);
client.on("state", ({ name }) => name === "connected" || overview.lose());

const places = new Places((place, isReturn) => show(place, isReturn));
const topicView = new TopicView(places, topics);
alarms.onCount = showTitle;
topics.onChange = () => topicView.showFacts();

function show(place, isReturn = false) {
  const isTopic = place.topic !== undefined;
  const wasTopic = !byId("topic-view").hidden;
  byId("panel-view").hidden = isTopic;
  byId("topic-view").hidden = !isTopic;
  topicView.show(isTopic ? place : null);
  leadTo(byId("topic-back"), {});
  showTitle();
  if (isTopic === wasTopic) return;
  refreshSoon(); // what was hidden was not kept fresh
  if (!isReturn) scrollTo(0, 0); // on the way back the browser knows better
  byId(isTopic ? "topic-name" : "overview-heading").focus({ preventScroll: true });
}

/** The tab's title: where one is, and whether the server has something to say. */
function showTitle() {
  const { topic } = places.current;
  const where = topic === undefined ? title : `${topic} · Pub/Sub`;
  document.title = alarms.unseen ? `(${alarms.unseen}) ${where}` : where;
}

function changed({ topic }) {
  refreshSoon();
  topicView.hear(topic);
}

/** Who is connected does not change with it. */
function published({ topic }) {
  refreshSoon(clients);
  topicView.hear(topic);
}

watch(
  client,
  {
    stats: (stats) => overview.show(stats),
    server_error: (alarm) => alarms.add(alarm),
    new_client: changed,
    client_disconnected: changed,
    new_message: published,
    new_consumption: ({ topic }) => {
      refreshSoon(clients);
      topicView.hearConfirmed(topic);
    },
    connect: () => topicView.hear(places.current.topic),
  },
  (error) => problems.report(error),
);
access.standing.on("change", () => {
  for (const id of ["publish-producer", "subscribe-consumer"]) useOwnName(byId(id));
});
show(places.current);

/** With a token one is called as it says: a field that nobody changed offers such a name. */
function useOwnName(field) {
  if (field.value !== field.defaultValue) return;
  field.defaultValue = field.value = access.ownName("control-panel");
}
