import assert from "node:assert/strict";
import { test } from "node:test";

import {
  rowAfterKey,
  rowsInSight,
  scrollTopShowing,
} from "../../src/python_pubsub_server/web/static/page/virtual-list.js";

test("the rows in sight are had, with a few around, however many there are", () => {
  const sight = { height: 400, rowHeight: 40 };
  assert.deepEqual(rowsInSight({ ...sight, scrollTop: 0, count: 10_000 }), { first: 0, end: 18 });
  assert.deepEqual(rowsInSight({ ...sight, scrollTop: 200_010, count: 10_000 }), { first: 4992, end: 5019 });
  assert.deepEqual(rowsInSight({ ...sight, scrollTop: 399_600, count: 10_000 }), { first: 9982, end: 10_000 });
});

test("a list that got shorter than where one had scrolled has no rows that are not", () => {
  const { first, end } = rowsInSight({ scrollTop: 9_000, height: 400, rowHeight: 40, count: 3 });
  assert.deepEqual([first, end], [3, 3]);
  assert.deepEqual(rowsInSight({ scrollTop: 0, height: 400, rowHeight: 40, count: 0 }), { first: 0, end: 0 });
});

test("keys move by rows and pages, and stop at the ends", () => {
  const at = (index) => ({ index, count: 100, pageRows: 9 });
  assert.equal(rowAfterKey("ArrowDown", at(5)), 6);
  assert.equal(rowAfterKey("ArrowUp", at(0)), 0);
  assert.equal(rowAfterKey("PageDown", at(95)), 99);
  assert.equal(rowAfterKey("PageUp", at(95)), 86);
  assert.equal(rowAfterKey("Home", at(95)), 0);
  assert.equal(rowAfterKey("End", at(5)), 99);
  assert.equal(rowAfterKey("Enter", at(5)), undefined);
  assert.equal(rowAfterKey("toString", at(5)), undefined);
  assert.equal(rowAfterKey("End", { index: 0, count: 0, pageRows: 9 }), undefined);
});

test("a row is scrolled to only as far as it must", () => {
  const sight = { height: 100, rowHeight: 20 };
  assert.equal(scrollTopShowing(3, { ...sight, scrollTop: 10 }), 10);
  assert.equal(scrollTopShowing(9, { ...sight, scrollTop: 0 }), 100);
  assert.equal(scrollTopShowing(2, { ...sight, scrollTop: 200 }), 40);
});
