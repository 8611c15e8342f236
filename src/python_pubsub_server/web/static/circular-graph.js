import { GraphPage } from "./graph/page.js";
import { curve, place, spots } from "./graph/ring.js";

new GraphPage({ name: "circular-graph", place, curve, spots });
