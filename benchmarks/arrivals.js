// The same GET with k6 at a constant arrival rate; with LAG it also tells how late iterations start (to 1 ms: JavaScript's clock).
import http from "k6/http";
import exec from "k6/execution";
import { Trend } from "k6/metrics";

const rate = Number(__ENV.RATE);
const lag = new Trend("start_lag", true);

export const options = {
  scenarios: {
    visitors: {
      executor: "constant-arrival-rate",
      rate,
      timeUnit: "1s",
      duration: __ENV.DURATION,
      preAllocatedVUs: Number(__ENV.USERS),
      maxVUs: Number(__ENV.USERS),
    },
  },
  summaryTrendStats: ["med", "p(99)"],
};

export default function () {
  if (__ENV.LAG) {
    const planned = exec.scenario.startTime + (exec.scenario.iterationInTest * 1000) / rate;
    lag.add(Date.now() - planned);
  }
  http.get(`${__ENV.URL}/`);
}
