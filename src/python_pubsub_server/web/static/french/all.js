/** The French of every text of the pages: English texts are the keys. */
import activityMap from "./activity-map.js";
import chat from "./chat.js";
import cluster from "./cluster.js";
import connectionTest from "./connection-test.js";
import controlPanel from "./control-panel.js";
import demo from "./demo.js";
import graphs from "./graphs.js";
import shell from "./shell.js";
import topic from "./topic.js";

export default {
  ...shell,
  ...activityMap,
  ...chat,
  ...cluster,
  ...connectionTest,
  ...controlPanel,
  ...demo,
  ...graphs,
  ...topic,
};
