<?php
// Nextcloud Talk's event, dispatched to deploy/adapters/TurnBrokerListener.php by Guzzle as Nextcloud uses it. What Nextcloud has around it is
// made here, as its interfaces say. Arguments: the broker, the key, and `none` for a Nextcloud without a cache. Each line of the input is a page:
// a JSON object with `user`, empty for a guest, and `later`, the seconds since the last page. The answer is a line with the servers that Talk
// would give, and the warnings of the log.
namespace OCP\EventDispatcher {
	class Event { public function __construct() {} }
	interface IEventListener { public function handle(Event $event): void; }
}
namespace OCP\Http\Client { interface IClientService { public function newClient(); } }
namespace OCP { interface IConfig {} interface IUserSession { public function getUser(); } interface ICache {} interface ICacheFactory {} }
namespace Psr\Log { interface LoggerInterface {} }
namespace OCA\Talk\Events {
	class BeforeTurnServersGetEvent extends \OCP\EventDispatcher\Event {
		public function __construct(protected array $servers) { parent::__construct(); }
		public function getServers(): array { return $this->servers; }
		public function setServers(array $servers): void { $this->servers = $servers; }
	}
}
namespace {
	require '/usr/share/php/GuzzleHttp/autoload.php';
	require __DIR__ . '/../../deploy/adapters/TurnBrokerListener.php';
	class Config implements OCP\IConfig {
		public function __construct(private array $values) {}
		public function getAppValue(string $app, string $name): string { return $app === 'turn_broker' ? $this->values[$name] : ''; }
	}
	class Client implements OCP\Http\Client\IClientService {
		public function newClient() { return $this; }
		public function get(string $uri, array $options) {
			// Every address of these tests is local.
			if (!($options['nextcloud']['allow_local_address'] ?? false)) { throw new Exception("$uri violates local access rules"); }
			return (new GuzzleHttp\Client())->request('get', $uri, $options);
		}
	}
	class Session implements OCP\IUserSession {
		public string $name = '';
		public function getUser() { return $this->name === '' ? null : $this; }
		public function getUID() { return $this->name; }
	}
	/** As Redis: values are JSON, and each has an end. */
	class Cache implements OCP\ICache, OCP\ICacheFactory {
		public int $now = 0;
		private array $values = [];
		public function __construct(private bool $isAvailable) {}
		public function isAvailable(): bool { return $this->isAvailable; }
		public function createDistributed(string $prefix = ''): OCP\ICache { return $this; }
		public function get($key) { return $this->now < ($this->values[$key][1] ?? 0) ? json_decode($this->values[$key][0], true) : null; }
		public function set($key, $value, $ttl = 0) { $this->values[$key] = [json_encode($value), $this->now + ($ttl ?: 86400)]; }
	}
	class Log implements Psr\Log\LoggerInterface {
		public array $lines = [];
		public function warning(string $line, array $context = []): void { $this->lines[] = $line; }
	}
	[, $broker, $key] = $argv;
	[$session, $cache, $log] = [new Session(), new Cache(($argv[3] ?? '') !== 'none'), new Log()];
	$listener = new OCA\TurnBroker\Listener\TurnBrokerListener(new Config(['url' => $broker, 'key' => $key]), new Client(), $session, $cache, $log);
	while (($line = fgets(STDIN)) !== false) {
		$page = json_decode($line, true);
		$session->name = $page['user'];
		$cache->now += $page['later'] ?? 0;
		$event = new OCA\Talk\Events\BeforeTurnServersGetEvent([['server' => 'of its own settings']]);
		$listener->handle($event);
		echo json_encode(['servers' => $event->getServers(), 'log' => $log->lines], JSON_THROW_ON_ERROR), "\n";
		$log->lines = [];
	}
}
