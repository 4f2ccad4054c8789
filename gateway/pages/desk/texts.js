// The texts of the desk, and numbers as people read them.

const EN = {
  title: "Desk", skip: "Skip to the room", room: "Room", language: "Language", signOut: "Sign out", now: "Now",
  signInTitle: "Sign in to the desk", token: "Token", signIn: "Sign in",
  signInHelp: "With your operator's token: that of the file of operators, or MANAGEMENT_TOKEN.",
  signedOut: "The session has ended. Please sign in again.", live: "Live", stale: "No connection since {at}", mayLook: "may look", mayAct: "may act",
  charts: "Over time", routes: "Services", instances: "Gateways", acts: "Acts", find: "Find a user", findButton: "Find", userId: "User id",
  settings: "Settings in force", defaults: "{n} more at their defaults", audit: "What operators have changed", range15: "15 min", range60: "1 h", range360: "6 h",
  inLine: "In line", inside: "Inside", arrivals: "Arrivals a minute", admissions: "Admissions a minute", waitNow: "Last in line waits",
  waits: "Waits, last 6 min", p50: "half", p95: "95 %", estimate: "Estimates are off by", parked: "Parked", registered: "Registered",
  ofSlots: "of {n} slots", median: "median, last 6 min", aboutWait: "about", unknown: "–", keepTicket: "absent, keep their ticket", inPrequeue: "in the pre-queue",
  behindP95: "95 %: {n}",
  chartLine: "Line and inside", chartFlow: "Arrivals and admissions a minute", chartWaits: "Waits", chartLost: "Left, parked and evicted a minute",
  left: "left", parkedA: "parked", evicted: "evicted", arrivalsS: "arrivals", admissionsS: "admissions", inLineS: "in line", insideS: "inside",
  noData: "Nothing has happened here yet.",
  route: "Route", health: "Health", requests: "Calls/min", errors: "5xx", latency50: "p50", latency95: "p95",
  healthy: "healthy", slow: "slow", failing: "failing", idle: "idle", idleRoutes: "{n} routes without a call in the last minute", routesNote: "The last minute at the gateway that you are connected to.",
  services: "Instances of services", breakers: "Circuit breakers", service: "Service", breaker: "Name", underWay: "Under way", why: "Why", ofInstances: "{n} of {all} healthy", warming: "warms up: {share}",
  is_healthy: "healthy", is_unhealthy: "unhealthy", is_unknown: "not checked", is_ejected: "left out", is_closed: "closed", is_open: "open", is_half_open: "half open",
  gateway: "Gateway", streams: "Streams", lag: "Lag", version: "Version", noInstances: "None has reported yet.",
  noChanges: "No changes yet.", noneFound: "Nothing is known of this user.", state: "State", lane: "Lane", ticket: "Ticket", position: "Position", since: "Since", lastSeen: "Last seen", streamsOf: "Streams", history: "History",
  cancel: "Cancel", reason: "Reason, for the audit", confirm: "Confirm", fromOperator: "operator", fromFile: "file", fromEnvironment: "environment", fromDefault: "default",
  forecastWait: "Estimate for the last in line: ", forecastStopped: "no admissions", forecastUnknown: "not measured yet", forecastNow: "at once",
  forecastLose: "{n} users lose their places for good.", forecastAtOnce: "{n} users are admitted at once.", forecastNone: "No users wait, so no wait changes.",
  groupFlow: "Flow", groupDoors: "Doors", groupUsers: "Users", groupEnd: "End", more: "All settings…",
  pause: "Pause", resume: "Resume", close: "Close", reopen: "Reopen", "sold-out": "Sold out", empty: "Empty the line", set: "Change capacity and rate", notice: "Notice", front: "To the front", remove: "Remove", invite: "Invite", beacon: "Beacon",
  pauseWhat: "The room admits no users until you resume. Users inside stay; the line keeps its order.",
  resumeWhat: "Users are admitted again.",
  closeWhat: "No new users may line up. Users in line are still admitted; users inside stay.",
  reopenWhat: "Users may line up again. This does not lift a pause.",
  "sold-outWhat": "The line ends for good. Everyone in line is told that it is sold out; users inside stay.",
  emptyWhat: "Everyone in line loses the place. Users inside stay.",
  setWhat: "Applies to all gateways at once, until it is lifted.",
  noticeWhat: "Shown to everyone in line, within a second. An empty text takes it away.",
  frontWhat: "Puts {user} at the head of the line. Everyone else moves one place back.",
  removeWhat: "Takes slot or place from {user}.",
  inviteWhat: "An invitation lets users in who are not eligible.",
  beaconWhat: "The public random value of the draw. It is accepted once.",
  capacity: "Capacity", duration: "Session, in seconds", rate: "Admissions at most", rateHelp: "as 5/s, 120/m or 900/h; off: no limit",
  until: "Reopens by itself at", untilHelp: "empty: it stays closed", user: "User", uses: "Number of users", expires: "Good for", expiresHelp: "such as 1h", value: "Value", text: "Text", lang: "Language of the text", langHelp: "such as ko; empty: for all",
  lift: "Back to the configured values", invited: "The invitation. It is shown only now:", done: "Done: {act}",
  state_NONE: "not in the room", state_REGISTERED: "registered for the opening", state_WAITING: "in line", state_PARKED: "absent, keeps the ticket", state_ALLOWED_IN: "inside",
  event_REGISTERED: "registered before the opening", event_JOINED: "joined the line", event_ADMITTED: "was admitted at once", event_MOVED: "moved", event_MOVED_again: "lined up again, and so moved to the end of the line",
  event_PARKED: "was parked, and keeps the ticket", event_RETURNED: "returned to the line with the same ticket", event_PROMOTED: "was admitted from the line", event_CLAIMED: "claimed the slot",
  event_FRONT: "was put in front of the line by an operator", event_EXPIRED: "lost the slot: the session ended", event_LEFT: "left", event_REMOVED: "was removed",
  reason_ABSENT: "there was no sign of the user for too long", reason_OPERATOR: "an operator did it, see the audit", reason_SOLD_OUT: "an operator said that the room is sold out", reason_UNCLAIMED: "the slot was not claimed in time",
  reason_ELSEWHERE: "another system with the same Redis did it", reason_TRANSFER: "slot or place went from one user to the other, by a sign-in or to another device", reason_LANE: "the route file has the lane no longer, and the place is in lane default now",
  tRedis: "Redis does not answer", tRedisD: "These numbers are from {at}. Users keep their places; the room admits no users until Redis is back.",
  tUnread: "The room can't be read", tUnreadD: "These numbers are from {at}. The gateway tries again each second; its log says why.",
  tGone: "The room is gone", tGoneD: "These numbers are from {at}. The room was empty for a long time, so the gateway has forgotten it. The next lineup makes it again.",
  tSoldOut: "Sold out", tSoldOutD: "The line has ended. {inside} users are inside.",
  tPaused: "Paused: no admissions", tPausedD: "{waiting} users wait. Resume when the services are ready.",
  tOff: "The room is off", tOffD: "Gates let everyone pass. The room has no line.",
  tNoSlots: "No slots: no admissions", tNoSlotsD: "The capacity is 0, and {waiting} users wait.",
  tFailing: "{route} fails", tFailingD: "{share} of its calls end with an error. Admit fewer users until the service has recovered.",
  tDown: "{service} has no healthy instance", tDownD: "Its instances fail their checks, or take no connection. Pause the admissions until the service is back.",
  tSlow: "{route} is slow", tSlowD: "5 % of its calls take longer than {time}. With fewer users inside it would recover.",
  tClosed: "Closed", tClosedD: "No new users may line up. {waiting} users in line are still admitted.",
  tStill: "The line stands still", tStillD: "{free} slots are free and {waiting} users wait, but the room admitted no users within the last minute.",
  tFull: "No user was admitted within the last minute", tFullD: "All {capacity} slots are taken; the next one is free when a session ends.",
  tLag: "A gateway is overloaded", tLagD: "{instance} is {time} late. Start one more gateway.",
  tEstimate: "Estimates are off by {share}", tEstimateD: "The pace of the line has changed. Tell the users with a notice if it goes on.",
  tGrows: "The line grows", tGrowsD: "{arrivals} arrive and {admissions} are admitted a minute. The last in line waits {wait}. If the services have room, raise the capacity.",
  tMoves: "The sale is healthy", tMovesD: "{admissions} users are admitted a minute. The last in line waits {wait}.",
  tMovesUnknown: "The line moves. The wait is not measured yet.",
  tFree: "No line: everyone is let in at once", tFreeD: "{inside} of {capacity} slots are taken.",
  tPrequeue: "{registered} users are registered", tPrequeueD: "The room opens at {at}.",
  preview: "Preview of the waiting page", previewButton: "Open in a new tab",
  failed: "That did not work: {message}",
};

const KO = {
  title: "운영 데스크", skip: "대기실로 건너뛰기", room: "대기실", language: "언어", signOut: "로그아웃", now: "현재",
  signInTitle: "운영 데스크 로그인", token: "토큰", signIn: "로그인",
  signInHelp: "운영자 토큰을 입력하세요. 운영자 파일의 토큰이나 MANAGEMENT_TOKEN입니다.",
  signedOut: "세션이 끝났습니다. 다시 로그인하세요.", live: "실시간", stale: "{at}부터 연결 끊김", mayLook: "조회", mayAct: "조작 가능",
  charts: "시간별 추이", routes: "서비스", instances: "게이트웨이", acts: "조작", find: "사용자 찾기", findButton: "찾기", userId: "사용자 ID",
  settings: "적용 중인 설정", defaults: "기본값 그대로인 설정 {n}개", audit: "운영자 변경 내역", range15: "15분", range60: "1시간", range360: "6시간",
  inLine: "대기 중", inside: "입장 중", arrivals: "분당 도착", admissions: "분당 입장", waitNow: "맨 뒤 예상 대기",
  waits: "대기 시간(최근 6분)", p50: "절반", p95: "95%", estimate: "예상 오차", parked: "자리 비움", registered: "사전 등록",
  ofSlots: "정원 {n}명", median: "중앙값, 최근 6분", aboutWait: "약", unknown: "–", keepTicket: "번호표 유지 중", inPrequeue: "사전 대기",
  behindP95: "95%: {n}",
  chartLine: "대기와 입장 인원", chartFlow: "분당 도착과 입장", chartWaits: "대기 시간", chartLost: "분당 이탈·자리 비움·퇴장",
  left: "이탈", parkedA: "자리 비움", evicted: "퇴장", arrivalsS: "도착", admissionsS: "입장", inLineS: "대기", insideS: "입장 중",
  noData: "아직 기록이 없습니다.",
  route: "라우트", health: "상태", requests: "분당 호출", errors: "5xx", latency50: "p50", latency95: "p95",
  healthy: "정상", slow: "느림", failing: "오류", idle: "호출 없음", idleRoutes: "최근 1분 동안 호출이 없는 라우트 {n}개", routesNote: "지금 연결된 게이트웨이의 최근 1분입니다.",
  services: "서비스 인스턴스", breakers: "서킷 브레이커", service: "서비스", breaker: "이름", underWay: "처리 중", why: "이유", ofInstances: "{all}개 중 {n}개 정상", warming: "준비 중: {share}",
  is_healthy: "정상", is_unhealthy: "비정상", is_unknown: "확인 전", is_ejected: "제외됨", is_closed: "닫힘", is_open: "열림", is_half_open: "반쯤 열림",
  gateway: "게이트웨이", streams: "스트림", lag: "지연", version: "버전", noInstances: "아직 보고가 없습니다.",
  noChanges: "변경 내역이 없습니다.", noneFound: "이 사용자에 대한 기록이 없습니다.", state: "상태", lane: "레인", ticket: "번호표", position: "순번", since: "시작", lastSeen: "마지막 확인", streamsOf: "스트림", history: "이력",
  cancel: "취소", reason: "사유(감사 기록용)", confirm: "확인", fromOperator: "운영자", fromFile: "파일", fromEnvironment: "환경 변수", fromDefault: "기본값",
  forecastWait: "맨 뒤 사용자의 예상 대기: ", forecastStopped: "입장 없음", forecastUnknown: "아직 측정되지 않음", forecastNow: "바로 입장",
  forecastLose: "{n}명이 자리를 완전히 잃습니다.", forecastAtOnce: "{n}명이 바로 입장합니다.", forecastNone: "대기자가 없어 대기 시간은 바뀌지 않습니다.",
  groupFlow: "흐름", groupDoors: "입구", groupUsers: "사용자", groupEnd: "종료", more: "전체 설정…",
  pause: "일시 중지", resume: "재개", close: "접수 마감", reopen: "다시 열기", "sold-out": "매진", empty: "대기열 비우기", set: "정원·입장 속도 변경", notice: "공지", front: "맨 앞으로", remove: "내보내기", invite: "초대", beacon: "비컨 값",
  pauseWhat: "재개할 때까지 아무도 입장하지 않습니다. 입장한 사용자는 그대로이고 순서도 유지됩니다.",
  resumeWhat: "다시 입장을 시작합니다.",
  closeWhat: "새로 줄을 설 수 없습니다. 이미 선 사용자는 계속 입장하고, 입장한 사용자는 그대로입니다.",
  reopenWhat: "다시 줄을 설 수 있습니다. 일시 중지는 풀리지 않습니다.",
  "sold-outWhat": "대기열이 완전히 끝납니다. 대기자 모두에게 매진을 알리고, 입장한 사용자는 그대로입니다.",
  emptyWhat: "대기자 모두가 자리를 잃습니다. 입장한 사용자는 그대로입니다.",
  setWhat: "되돌릴 때까지 모든 게이트웨이에 바로 적용됩니다.",
  noticeWhat: "대기자 모두에게 1초 안에 표시됩니다. 비워 두면 공지를 내립니다.",
  frontWhat: "{user} 사용자를 맨 앞에 세웁니다. 다른 사용자는 한 자리씩 뒤로 갑니다.",
  removeWhat: "{user} 사용자의 자리를 없앱니다.",
  inviteWhat: "대상이 아닌 사용자도 초대장으로 들어올 수 있습니다.",
  beaconWhat: "추첨에 쓰는 공개 난수입니다. 한 번만 받습니다.",
  capacity: "정원", duration: "세션 길이(초)", rate: "최대 입장 속도", rateHelp: "예: 5/s, 120/m, 900/h. off는 제한 없음",
  until: "자동으로 다시 여는 시각", untilHelp: "비워 두면 닫힌 채로 둡니다", user: "사용자", uses: "사용자 수", expires: "유효 기간", expiresHelp: "예: 1h", value: "값", text: "내용", lang: "내용의 언어", langHelp: "예: ko. 비워 두면 모두에게",
  lift: "설정값으로 되돌리기", invited: "초대장입니다. 지금만 표시됩니다:", done: "완료: {act}",
  state_NONE: "이 대기실에 없음", state_REGISTERED: "사전 등록", state_WAITING: "대기 중", state_PARKED: "자리 비움, 번호표 유지", state_ALLOWED_IN: "입장 중",
  event_REGISTERED: "열리기 전에 등록", event_JOINED: "줄을 섬", event_ADMITTED: "바로 입장", event_MOVED: "이동", event_MOVED_again: "다시 줄을 서서 맨 뒤로 이동",
  event_PARKED: "자리 비움으로 전환, 번호표 유지", event_RETURNED: "같은 번호표로 줄에 복귀", event_PROMOTED: "줄에서 입장", event_CLAIMED: "입장 자리를 확정",
  event_FRONT: "운영자가 맨 앞에 세움", event_EXPIRED: "세션이 끝나 입장 자리를 잃음", event_LEFT: "나감", event_REMOVED: "제거됨",
  reason_ABSENT: "너무 오래 접속이 없음", reason_OPERATOR: "운영자가 함(변경 내역 참고)", reason_SOLD_OUT: "운영자가 매진을 알림", reason_UNCLAIMED: "제때 입장하지 않음",
  reason_ELSEWHERE: "같은 Redis를 쓰는 다른 시스템이 함", reason_TRANSFER: "로그인하거나 다른 기기로 옮겨 자리가 다른 사용자에게 넘어감", reason_LANE: "라우트 파일에서 레인이 없어져 지금은 default 레인에 있음",
  tRedis: "Redis가 응답하지 않습니다", tRedisD: "{at}의 수치입니다. 자리는 유지되지만 Redis가 돌아올 때까지 입장이 멈춥니다.",
  tUnread: "대기실을 읽을 수 없습니다", tUnreadD: "{at}의 수치입니다. 게이트웨이가 매초 다시 시도하며, 이유는 로그에 있습니다.",
  tGone: "대기실이 없습니다", tGoneD: "{at}의 수치입니다. 오랫동안 아무도 없어서 게이트웨이가 대기실을 지웠습니다. 다음 대기 신청이 다시 만듭니다.",
  tSoldOut: "매진", tSoldOutD: "더 이상 대기자가 없습니다. {inside}명이 입장 중입니다.",
  tPaused: "일시 중지: 입장이 멈췄습니다", tPausedD: "{waiting}명이 기다립니다. 서비스가 준비되면 재개하세요.",
  tOff: "대기실이 꺼져 있습니다", tOffD: "모두 바로 통과합니다.",
  tNoSlots: "정원이 0이라 아무도 입장하지 않습니다", tNoSlotsD: "{waiting}명이 기다립니다.",
  tFailing: "{route}에 오류가 많습니다", tFailingD: "호출의 {share}가 실패합니다. 서비스가 회복될 때까지 입장을 줄이세요.",
  tDown: "{service}에 정상 인스턴스가 없습니다", tDownD: "인스턴스가 상태 확인에 실패하거나 연결을 받지 않습니다. 서비스가 회복될 때까지 입장을 일시 중지하세요.",
  tSlow: "{route}가 느립니다", tSlowD: "호출의 5%가 {time}보다 오래 걸립니다. 입장 인원을 줄이면 회복됩니다.",
  tClosed: "접수 마감", tClosedD: "새로 줄을 설 수 없습니다. 대기 중인 {waiting}명은 계속 입장합니다.",
  tStill: "줄이 움직이지 않습니다", tStillD: "빈자리가 {free}개이고 {waiting}명이 기다리지만 최근 1분 동안 입장이 없었습니다.",
  tFull: "최근 1분 동안 입장이 없었습니다", tFullD: "정원 {capacity}명이 모두 찼습니다. 세션이 끝나면 다음 사용자가 입장합니다.",
  tLag: "게이트웨이가 과부하입니다", tLagD: "{instance}가 {time} 늦습니다. 게이트웨이를 하나 더 띄우세요.",
  tEstimate: "예상이 {share} 빗나갑니다", tEstimateD: "줄의 속도가 바뀌었습니다. 계속되면 공지로 알리세요.",
  tGrows: "줄이 길어집니다", tGrowsD: "분당 {arrivals}명이 오고 {admissions}명이 입장합니다. 맨 뒤는 {wait} 기다립니다. 서비스에 여유가 있으면 정원을 늘리세요.",
  tMoves: "판매가 순조롭습니다", tMovesD: "분당 {admissions}명이 입장합니다. 맨 뒤는 {wait} 기다립니다.",
  tMovesUnknown: "줄이 움직입니다. 대기 시간은 아직 측정되지 않았습니다.",
  tFree: "대기 없음: 모두 바로 입장합니다", tFreeD: "정원 {capacity}명 중 {inside}명이 입장 중입니다.",
  tPrequeue: "{registered}명이 사전 등록했습니다", tPrequeueD: "{at}에 열립니다.",
  preview: "대기 페이지 미리보기", previewButton: "새 탭에서 열기",
  failed: "실패했습니다: {message}",
};

export const LANGUAGES = { en: EN, ko: KO };
let language = "en";

export function setLanguage(wanted) {
  language = Object.hasOwn(LANGUAGES, wanted) ? wanted : "en";
  document.documentElement.lang = language;
}

export const currentLanguage = () => language;

/** The text of this key, with values for the words in braces. */
export function text(key, values = {}) {
  return (LANGUAGES[language][key] ?? EN[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A code of the gateway with what it means, such as WAITING · in line; a code of a later version alone. */
export function inWords(kind, code, variant = "") {
  const key = `${kind}_${code}${variant}`, words = text(key);
  return words === key ? code : `${code} · ${words}`;
}

/** What a language is called in itself. */
export function nameOf(code) {
  return new Intl.DisplayNames(code, { type: "language" }).of(code);
}

export function number(value, digits = 0) {
  if (value === null || value === undefined) return text("unknown");
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

export function percent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0 }).format(share);
}

/** Seconds as people say them: 45 s, 12 min, 1 h 5 min. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return text("unknown");
  const unit = (value, name) =>
    new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: 0 }).format(value);
  if (seconds < 99.5) return unit(Math.round(seconds), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return unit(minutes, "minute");
  return `${unit(Math.floor(minutes / 60), "hour")} ${unit(minutes % 60, "minute")}`;
}

export function clock(milliseconds) {
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(milliseconds);
}

export function moment(milliseconds) {
  return new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(milliseconds);
}

/** A text that users or operators chose. Signs in it that turn the direction of writing turn nothing beside it. */
export const apart = (chosen) => element("bdi", {}, String(chosen));

/** An element with attributes and children. Texts become text nodes and nothing else. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}
