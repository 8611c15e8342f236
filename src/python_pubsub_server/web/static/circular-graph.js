import { GraphPage } from "./graph/page.js";
import { curve, label, place } from "./graph/ring.js";

new GraphPage({ name: "circular-graph", place, curve, label });
