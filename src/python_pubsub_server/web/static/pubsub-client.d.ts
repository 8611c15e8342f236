/** Types of pubsub-client.js; what each thing does is told there and in docs/javascript-client.md. */

/** A message as it comes. */
export interface Message<T = any> {
  topic: string;
  /** Null, as `producer` and `sequence`, for what is not in the log: another program said it. */
  message_id: string | null;
  message: T;
  producer: string | null;
  /** Unix seconds. */
  timestamp: number;
  sequence: number | null;
  /** True for what was published before it was asked for. */
  replayed?: boolean;
}

export interface Notification {
  user_id: string;
  title: string;
  body?: string | null;
  data?: any;
  [field: string]: any;
}

export interface Vote {
  suggestion_id: string;
  score: number;
  up: number;
  down: number;
  [field: string]: any;
}

export interface ResourceUpdate {
  resource_id: string;
  [field: string]: any;
}

/** Where a subscription begins: behind a sequence, with all that is kept, or with what this
 * consumer has not confirmed. */
export type Start = number | "beginning" | "consumed";

export interface From {
  after?: Start | Record<string, Start>;
  /** That of the sequences in `after`. */
  epoch?: string;
}

export interface TopicReport {
  topic: string;
  sequence: number;
  first: number;
  replayed: number;
  recovered: boolean;
  topics?: TopicReport[];
}

export interface SubscriptionReport {
  status: "ok";
  epoch: string;
  consumer: string;
  topics: TopicReport[];
}

export interface Receipt {
  status: "ok";
  sequence: number;
  timestamp: number;
  duplicate: boolean;
}

export interface PresentUser {
  user: string;
  status: string;
  last_seen: number;
}

export interface State {
  name: "connecting" | "connected" | "reconnecting" | "paused" | "closed";
  attempt: number;
  /** Milliseconds until the next attempt. */
  delay: number;
  error?: PubSubError;
}

export interface Publication<T = any> {
  topic: string;
  message: T;
  producer?: string;
  message_id?: string;
}

export interface Clock {
  now(): number;
  setTimeout(callback: () => void, delay: number): any;
  clearTimeout(timer: any): void;
}

export interface Options {
  consumer?: string;
  producer?: string;
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  auth?: object | (() => object | undefined | Promise<object | undefined>);
  /** A WebSocket class, where there is no global one (Node 20: `import { WebSocket } from "ws"`). */
  WebSocket?: any;
  backoff?: { base?: number; max?: number };
  resume?: boolean;
  connectTimeout?: number;
  requestTimeout?: number;
  deliveryTimeout?: number;
  queueLimit?: number;
  json?: { parse(text: string): any; stringify(value: any): string };
  random?: () => number;
  clock?: Clock;
  wallClock?: () => number;
}

export class PubSubError extends Error {
  constructor(code: string, message: string, event?: string);
  name: "PubSubError";
  code: string;
  event?: string;
}

type OwnEvent = "notification" | "suggestion:vote" | "resource:update";

type Listener<Events, Name> = Name extends keyof Events
  ? Name extends OwnEvent
    ? (content: Events[Name], message: Message<Events[Name]>) => void
    : Name extends "received"
      ? (message: Events[Name], event: string) => void
      : (value: Events[Name]) => void
  : (...values: any[]) => void;

declare class Emitter<Events> {
  /** @returns takes the listener off again */
  on<Name extends (keyof Events & string) | (string & {})>(
    name: Name,
    listener: Listener<Events, Name>,
  ): () => void;
  off(name: (keyof Events & string) | (string & {}), listener?: (...values: any[]) => void): void;
}

export interface TopicEvents {
  message: Message;
  notification: Notification;
  "suggestion:vote": Vote;
  "resource:update": ResourceUpdate;
  unrecovered: TopicReport & { epoch: string };
  error: PubSubError;
}

export interface ClientEvents extends TopicEvents {
  received: Message;
  state: State;
  subscribed: SubscriptionReport;
  unsubscribed: { status: "ok"; topics: string[] };
}

export interface ChannelEvents extends TopicEvents {
  subscribed: TopicReport;
}

export interface NamespaceEvents {
  connect: undefined;
  disconnect: PubSubError;
  connect_error: PubSubError;
}

export interface RequestOptions {
  timeout?: number;
  resend?: boolean;
  settle?: (answer: any) => void;
}

export class Channel extends Emitter<ChannelEvents> {
  private constructor();
  readonly topic: string;
  readonly subscribed: Promise<SubscriptionReport>;
  publish<T>(message: T, more?: { producer?: string; message_id?: string }): Promise<Receipt>;
  presence(): Promise<PresentUser[]>;
  last<T = any>(): Promise<Message<T> | null>;
  unsubscribe(): Promise<{ status: "ok"; topics: string[] }>;
}

export class Namespace extends Emitter<NamespaceEvents> {
  private constructor();
  readonly connected: boolean;
  send(event: string, ...values: any[]): void;
  request(event: string, value?: any, how?: RequestOptions): Promise<any>;
}

export class PubSubClient extends Emitter<ClientEvents> {
  constructor(url?: string | URL, options?: Options);
  consumer: string | undefined;
  readonly state: State;
  readonly topics: string[];
  readonly place: { after: Record<string, Start>; epoch: string | undefined };
  subscribe(topics: string | string[], from?: From): Promise<SubscriptionReport>;
  unsubscribe(topics?: string | string[]): Promise<{ status: "ok"; topics: string[] }>;
  channel(topic: string, from?: From): Channel;
  publish<T>(publication: Publication<T>): Promise<Receipt>;
  consumed(message: {
    topic: string;
    message_id: string | null;
    sequence?: number | null;
  }): Promise<{ status: "ok"; recorded: number }>;
  request(event: string, data?: any, how?: RequestOptions): Promise<any>;
  namespace(path: string): Namespace;
  refresh(token?: Options["token"]): Promise<void>;
  reconnect(): void;
  pause(): void;
  close(): void;
}
