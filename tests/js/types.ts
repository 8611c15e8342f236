/** Read by the TypeScript compiler only: what must be allowed, and what must not be. */
import {
  PubSubClient,
  PubSubError,
  Channel,
  type Message,
} from "../../src/python_pubsub_server/web/static/pubsub-client.js";

const client = new PubSubClient("http://localhost:5000", {
  consumer: "c",
  token: async () => "token",
  backoff: { base: 1 },
});
new PubSubClient(new URL("http://localhost:5000"), { token: "token", auth: { device: "phone" } });
// @ts-expect-error a token is no number
new PubSubClient("http://localhost:5000", { token: 42 });
// @ts-expect-error no such option
new PubSubClient("http://localhost:5000", { tokn: "x" });

const off: () => void = client.on("message", ({ topic, sequence, replayed }) => {
  const place: [string, number | null, boolean | undefined] = [topic, sequence, replayed];
  console.log(place);
});
off();
client.on("received", ({ topic }, event) => topic + event.toUpperCase());
client.on("state", ({ name }) => name === "reconnecting");
client.on("error", ({ code }: PubSubError) => code.length);
client.on("an event of my own", (anything: { x: number }, more: string) => more + anything.x);
// @ts-expect-error no state is called so
client.on("state", ({ name }) => name === "lost");

const bell: Channel = client.channel("notifications:42", { after: "consumed" });
bell.on("notification", ({ title, body }) => `${title.toUpperCase()} ${body ?? ""}`);
bell.on("notification", (_, { sequence, message }) => `${sequence} ${message.title}`);
bell.on("message", (message: Message<{ total: number }>) => message.message.total);
client.channel("suggestions:votes").on("suggestion:vote", ({ score }) => score.toFixed());
bell.off("notification");
const report: Promise<{ epoch: string }> = bell.subscribed;
const here: Promise<{ user: string }[]> = bell.presence();

const receipt: Promise<{ sequence: number }> = client.publish({ topic: "a", message: null });
// @ts-expect-error the topic is missing
client.publish({ message: 1 });
// @ts-expect-error no such beginning
client.subscribe("a", { after: "consummed" });
client.subscribe(["a", "b:*"], { after: { a: 4, "b:*": "beginning" }, epoch: "e" });
client.subscribe(client.topics, client.place);
// @ts-expect-error channels are made by the client
new Channel();
client.namespace("/monitoring").on("connect_error", (error) => error.code);
export const all = [report, here, receipt, client.refresh("t"), client.namespace("/x").request("y")];
