// Prints the text of the packets that come on a topic: JSON.parse would round what is in them.
import { io } from "socket.io-client";

const [url, topic] = process.argv.slice(2);
const socket = io(url, { transports: ["websocket"], reconnection: false });
socket.io.engine.on("packet", ({ data }) => {
  if (typeof data === "string" && data.startsWith('2["message"')) {
    console.log(data);
    socket.disconnect();
  }
});
socket.on("connect", () => socket.emit("subscribe", { consumer: "js", topics: [topic], after: 0 }));
