import { curve, place, spots } from "./graph/force.js";
import { GraphPage } from "./graph/page.js";

new GraphPage({ name: "network-graph", place, curve, spots });
