"""The simulated OpenD's answers about symbols and money: 3202, 3211, 3212, 3223, 3424.

What was served of the polled tables is remembered, so that the final truth can say how many rows a
reader that stores each version once must hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from codec.errors import TicktapeError
from codec.markets import HK, symbol_name
from protos.opend import (
    ark_stock_dynamic_pb2,
    capital_distribution_pb2,
    capital_flow_pb2,
    common_pb2,
    market_state_pb2,
    static_info_pb2,
)
from ticktape.simulate.flows import DAY, INTRADAY, MONTH, WEEK, FlowLine, Flows
from ticktape.simulate.market import Market
from ticktape.simulate.served import ServedRows
from ticktape.simulate.sessions import phase_at
from ticktape.simulate.symbols import SECURITY_TYPE_EQUITY, Listing

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_SECURITY_ID_FIRST = 54_000_000_000_000


class CallRefused(TicktapeError):
    """OpenD would answer retType -1 with this text."""


class QuoteCalls:
    """Answers that need no subscription."""

    def __init__(self, market: Market, seed: int) -> None:
        self._market = market
        self._flows = Flows(seed)
        self.served = ServedRows()

    def symbol_index(self, security: common_pb2.Security) -> int:
        """The index of a security on the wire; raises CallRefused when there is none."""
        index = self._market.index.get((security.market, security.code))
        if index is None and security.market == HK and not security.code.isdigit():
            raise CallRefused("options and futures of Hong Kong have no TICKER under LV1")
        if index is None:
            raise CallRefused(f"unknown stock {symbol_name(security.market, security.code)}")
        return index

    def _listing(self, security: common_pb2.Security) -> Listing:
        return self._market.listings[self.symbol_index(security)]

    def capital_flow(self, c2s: capital_flow_pb2.GetCapitalFlowC2S) -> capital_flow_pb2.GetCapitalFlowS2C:
        """3211: intraday lines, or a line a day, week or month."""
        listing, now_us = self._listing(c2s.security), self._market.now_us
        period = c2s.periodType or INTRADAY
        if period == INTRADAY:
            lines = self._flows.intraday(listing, now_us)
        elif period in (DAY, WEEK, MONTH):
            lines = self._flows.history(listing, period, _date(c2s.beginTime), _date(c2s.endTime), now_us)
        else:
            raise CallRefused(f"unknown periodType {period}")
        s2c = capital_flow_pb2.GetCapitalFlowS2C()
        for line in lines:
            s2c.flowItemList.append(_flow_item(listing, line))
            self.served.add("capital_flow", listing.symbol, (period, line.at), (line.net, line.main, *line.sizes))
        until = self._flows.valid_until(listing, now_us)
        s2c.lastValidTime, s2c.lastValidTimestamp = until.strftime(_TIME_FORMAT), Flows.timestamp(listing, until)
        return s2c

    def capital_distribution(
        self, c2s: capital_distribution_pb2.GetCapitalDistributionC2S
    ) -> capital_distribution_pb2.GetCapitalDistributionS2C:
        """3212: money in and out by order size."""
        listing = self._listing(c2s.security)
        money = self._flows.distribution(listing, self._market.now_us)
        self.served.add("capital_distribution", listing.symbol, (money.at,), (*money.inflow, *money.outflow))
        in_super, in_big, in_mid, in_small = money.inflow
        out_super, out_big, out_mid, out_small = money.outflow
        return capital_distribution_pb2.GetCapitalDistributionS2C(
            capitalInBig=in_big,
            capitalInMid=in_mid,
            capitalInSmall=in_small,
            capitalOutBig=out_big,
            capitalOutMid=out_mid,
            capitalOutSmall=out_small,
            updateTime=money.at.strftime(_TIME_FORMAT),
            updateTimestamp=Flows.timestamp(listing, money.at),
            capitalInSuper=in_super,
            capitalOutSuper=out_super,
        )

    def ark_stock_dynamic(
        self, c2s: ark_stock_dynamic_pb2.GetArkStockDynamicC2S
    ) -> ark_stock_dynamic_pb2.GetArkStockDynamicS2C:
        """3424: what the ARK funds did lately."""
        listing = self._listing(c2s.security)
        ark = self._flows.ark(listing, self._market.now_us)
        values = (ark.dynamic_type, ark.transactions, ark.net_shares, ark.last_on)
        self.served.add("ark_dynamic", listing.symbol, (), values)
        return ark_stock_dynamic_pb2.GetArkStockDynamicS2C(
            dynamicType=ark.dynamic_type,
            transactionCount=ark.transactions,
            netShares=ark.net_shares,
            lastTransactionTime=ark.last_on,
        )

    def static_info(self, c2s: static_info_pb2.GetStaticInfoC2S) -> static_info_pb2.GetStaticInfoS2C:
        """3202: by list, or by market and type; the list wins."""
        indices: Iterable[int]
        if c2s.securityList:
            indices = [self.symbol_index(security) for security in c2s.securityList]
        else:
            wanted = c2s.secType in (0, SECURITY_TYPE_EQUITY)
            listings = enumerate(self._market.listings) if wanted else ()
            indices = [index for index, listing in listings if listing.market == c2s.market]
        return static_info_pb2.GetStaticInfoS2C(
            staticInfoList=[_static_info(index, self._market.listings[index]) for index in indices]
        )

    def market_state(self, c2s: market_state_pb2.GetMarketStateC2S) -> market_state_pb2.GetMarketStateS2C:
        """3223: the state of each security's market."""
        s2c = market_state_pb2.GetMarketStateS2C()
        for security in c2s.securityList:
            listing = self._listing(security)
            state = phase_at(listing.market, self._market.now_us).state
            s2c.marketInfoList.add(security=security, name=listing.name, marketState=state)
        return s2c


def _flow_item(listing: Listing, line: FlowLine) -> capital_flow_pb2.CapitalFlowItem:
    in_super, in_big, in_mid, in_small = line.sizes
    return capital_flow_pb2.CapitalFlowItem(
        inFlow=line.net,
        time=line.at.strftime(_TIME_FORMAT),
        timestamp=Flows.timestamp(listing, line.at),
        mainInFlow=line.main,
        superInFlow=in_super,
        bigInFlow=in_big,
        midInFlow=in_mid,
        smlInFlow=in_small,
    )


def _static_info(index: int, listing: Listing) -> static_info_pb2.SecurityStaticInfo:
    listed = datetime.fromisoformat(listing.listed_on).replace(tzinfo=UTC)
    basic = static_info_pb2.SecurityStaticBasic(
        security=common_pb2.Security(market=listing.market, code=listing.code),
        id=_SECURITY_ID_FIRST + index,
        lotSize=listing.lot_size,
        secType=SECURITY_TYPE_EQUITY,
        name=listing.name,
        listTime=listing.listed_on,
        delisting=False,
        listTimestamp=listed.timestamp(),
        exchType=listing.exchange,
    )
    return static_info_pb2.SecurityStaticInfo(basic=basic)


def _date(text: str) -> date | None:
    """The day of `yyyy-MM-dd[ HH:mm:ss]`, None for an empty text; raises CallRefused for others."""
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise CallRefused(f"{text!r} is not a date: write yyyy-MM-dd") from None
