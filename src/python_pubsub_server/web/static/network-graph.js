import { curve, label, place } from "./graph/force.js";
import { GraphPage } from "./graph/page.js";

new GraphPage({ name: "network-graph", place, curve, label });
