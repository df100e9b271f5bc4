// Collects the ticks of some symbols with the official JavaScript SDK, pushes and pulls, as JSON.
//
// node client.mjs PORT KEY TICKS FILE SYMBOL... (tests/support/javascript.py); it ends when it has seen TICKS
// different ticks, or when it cannot log in.

import { writeFileSync } from "node:fs";
import Futu from "futu-api";

const [port, key, wanted, file, ...symbols] = process.argv.slice(2);
const MARKETS = { HK: 1, US: 11 };
const ALL_SESSIONS = 3, TICKER = 4, UPDATE_TICKER = 3011;
const WAIT_MS_MAX = 60000, PULL_EVERY_MS = 300;

const securities = symbols.map((symbol) => {
  const [market, code] = symbol.split(".");
  return { market: MARKETS[market], code };
});
const seen = new Map();
const deliveries = { pushed: 0, pulled: 0 };

function keep(s2c, delivery) {
  for (const tick of s2c.tickerList) {
    deliveries[delivery] += 1;
    const name = `${s2c.security.code}/${tick.sequence}`;
    seen.set(name, {
      code: s2c.security.code,
      market: s2c.security.market,
      sequence: tick.sequence.toString(),
      volume: Number(tick.volume),
      price: tick.price,
      turnover: tick.turnover,
      dir: tick.dir,
      type: tick.type,
      typeSign: tick.typeSign,
      time: tick.time,
      timestamp: tick.timestamp,
    });
  }
}

function end(result) {
  writeFileSync(file, JSON.stringify(result));
  process.exit(0);
}

const futu = new Futu();
futu.onPush = (cmd, response) => {
  if (cmd === UPDATE_TICKER) keep(response.s2c, "pushed");
};
futu.onlogin = async (loggedIn, answer) => {
  if (!loggedIn) end({ loggedIn, error: answer });
  const subscribe = {
    securityList: securities,
    subTypeList: [TICKER],
    isSubOrUnSub: true,
    isRegOrUnRegPush: true,
    session: ALL_SESSIONS,
    extendedTime: true,
  };
  await futu.Sub({ c2s: subscribe });
  const until = Date.now() + WAIT_MS_MAX;
  while (seen.size < Number(wanted) && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, PULL_EVERY_MS));
    for (const security of securities) {
      const reply = await futu.GetTicker({ c2s: { security, maxRetNum: 1000 } });
      keep(reply.s2c, "pulled");
    }
  }
  const flow = await futu.GetCapitalFlow({ c2s: { security: securities[0] } });
  const connection = futu.getConnID().toString();
  end({ loggedIn, connection, ticks: [...seen.values()], deliveries, flowLines: flow.s2c.flowItemList.length });
};
futu.start("127.0.0.1", Number(port), false, key);
