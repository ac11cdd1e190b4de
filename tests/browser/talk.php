<?php
// Nextcloud Talk's event, dispatched to deploy/adapters/TurnBrokerListener.php. What Nextcloud has around it is made here, as its interfaces say.
// Arguments: the broker, the key, the user. Prints the servers that Talk would give to the user, and the warnings of the log.
namespace OCP\EventDispatcher {
	class Event { public function __construct() {} }
	interface IEventListener { public function handle(Event $event): void; }
}
namespace OCP\Http\Client { interface IClientService { public function newClient(); } }
namespace OCP { interface IConfig {} interface IUserSession { public function getUser(); } }
namespace Psr\Log { interface LoggerInterface {} }
namespace OCA\Talk\Events {
	class BeforeTurnServersGetEvent extends \OCP\EventDispatcher\Event {
		public function __construct(protected array $servers) { parent::__construct(); }
		public function getServers(): array { return $this->servers; }
		public function setServers(array $servers): void { $this->servers = $servers; }
	}
}
namespace {
	require __DIR__ . '/../../deploy/adapters/TurnBrokerListener.php';
	[, $broker, $key, $user] = $argv;
	class Config implements OCP\IConfig {
		public function __construct(private array $values) {}
		public function getAppValue(string $app, string $name): string { return $app === 'turn_broker' ? $this->values[$name] : ''; }
	}
	// As Guzzle, which throws for each status from 400 on.
	class Client implements OCP\Http\Client\IClientService {
		public function __construct(private string $body = '') {}
		public function newClient() { return $this; }
		public function getBody() { return $this->body; }
		public function get(string $uri, array $options) {
			$headers = array_map(fn ($name, $value) => "$name: $value", array_keys($options['headers']), $options['headers']);
			$context = stream_context_create(['http' => ['header' => $headers, 'ignore_errors' => true, 'timeout' => $options['timeout']]]);
			$body = file_get_contents($uri . '?' . http_build_query($options['query']), false, $context);
			if (!str_contains($http_response_header[0], ' 200 ')) { throw new Exception($http_response_header[0]); }
			return new Client($body);
		}
	}
	class Session implements OCP\IUserSession {
		public function __construct(private string $name) {}
		public function getUser() { return $this->name === '' ? null : $this; }
		public function getUID() { return $this->name; }
	}
	class Log implements Psr\Log\LoggerInterface {
		public array $lines = [];
		public function warning(string $line, array $context = []): void { $this->lines[] = $line; }
	}
	$event = new OCA\Talk\Events\BeforeTurnServersGetEvent([]);
	$log = new Log();
	$listener = new OCA\TurnBroker\Listener\TurnBrokerListener(new Config(['url' => $broker, 'key' => $key]), new Client(), new Session($user), $log);
	$listener->handle($event);
	echo json_encode(['servers' => $event->getServers(), 'log' => $log->lines], JSON_THROW_ON_ERROR);
}
