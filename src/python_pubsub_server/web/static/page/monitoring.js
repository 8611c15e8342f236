import { isRefusal, standing } from "./access.js";

/**
 * Hears what happens on the server, again after each reconnect. That it is only for admins is told
 * by the shell.
 *
 * @param {PubSubClient} client
 * @param {Record<string, (argument: any) => void>} listeners by event: `new_message`, `stats`, …
 * @param {(error: PubSubError) => void} onError
 */
export function watch(client, listeners, onError) {
  const monitoring = client.namespace("/monitoring");
  monitoring.on("connect", () => standing.become("admin"));
  for (const [event, listener] of Object.entries(listeners)) monitoring.on(event, listener);
  monitoring.on("connect", () => monitoring.request("subscribe_to_updates").catch(onError));
  monitoring.on("connect_error", (error) => {
    if (error.code === "forbidden") standing.become("user");
    else if (!isRefusal(error)) onError(error);
  });
}
