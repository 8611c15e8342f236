import assert from "node:assert/strict";
import { test } from "node:test";

import { runs, scaleTop, Series } from "../../src/python_pubsub_server/web/static/page/series.js";

test("a series keeps its last seconds", () => {
  const series = new Series(10);
  for (let at = 0; at <= 30; at += 1) series.add(at, at * 2);
  assert.deepEqual([series.points[0].at, series.last.at, series.points.length], [20, 30, 11]);
  assert.equal(new Series(10, [{ at: 1, value: 5 }]).last.value, 5);
});

test("a line is broken where nothing is known", () => {
  const points = [1, 2, 3, 9, 10, 11].map((at) => ({ at, value: at === 10 ? null : at }));
  assert.deepEqual(runs(points, 5).map((run) => run.map(({ at }) => at)), [[1, 2, 3], [9], [11]]);
  assert.deepEqual(runs([], 5), []);
});

test("a scale ends at a round number", () => {
  assert.deepEqual([0, 1, 1.1, 3, 7, 10, 4_001, 0.03].map(scaleTop), [1, 1, 2, 5, 10, 10, 5_000, 0.05]);
  assert.equal(scaleTop(NaN), 1);
});
