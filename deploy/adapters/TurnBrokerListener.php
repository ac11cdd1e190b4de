<?php

declare(strict_types=1);

// turn-broker for Nextcloud Talk (Nextcloud 28 or later): whoever asks Talk for its settings gets TURN servers with a credential of their own.
// Make an app around this file: lib/Listener/TurnBrokerListener.php, an appinfo/info.xml with the id `turn_broker`, and in the method
// `register` of its lib/AppInfo/Application.php:
//     $context->registerEventListener(\OCA\Talk\Events\BeforeTurnServersGetEvent::class, TurnBrokerListener::class);
// The settings are occ config:app:set turn_broker url --value=https://turn.example.com, and the same for `key`; the broker has
// SERVER_KEYS=nextcloud=THE_SAME_KEY. While the broker refuses, Talk has the servers of its own settings.

namespace OCA\TurnBroker\Listener;

use OCP\EventDispatcher\Event;
use OCP\EventDispatcher\IEventListener;
use OCP\Http\Client\IClientService;
use OCP\IConfig;
use OCP\IUserSession;
use Psr\Log\LoggerInterface;

/** @template-implements IEventListener<Event> */
class TurnBrokerListener implements IEventListener {
	public function __construct(
		private IConfig $config,
		private IClientService $clients,
		private IUserSession $session,
		private LoggerInterface $logger,
	) {
	}

	public function handle(Event $event): void {
		// Guests have no name of their own.
		$user = $this->session->getUser()?->getUID() ?? 'guest';
		$url = $this->config->getAppValue('turn_broker', 'url');
		$key = $this->config->getAppValue('turn_broker', 'key');
		try {
			$answer = $this->clients->newClient()->get($url . '/api/turn-credentials', [
				'query' => ['user' => $user],
				'headers' => ['Authorization' => 'Bearer ' . $key],
				'timeout' => 5,
			]);
			$servers = self::turnServers(json_decode((string)$answer->getBody(), true, 16, JSON_THROW_ON_ERROR));
			if ($servers !== []) {
				$event->setServers($servers);
			}
		} catch (\Throwable $why) {
			$this->logger->warning('turn-broker gives no TURN server: ' . $why->getMessage(), ['app' => 'turn_broker']);
		}
	}

	/** Talk puts schemes, server and protocols together again. A server has one credential, and one URL each. */
	private static function turnServers(array $answer): array {
		$servers = [];
		foreach ($answer['iceServers'] as $entry) {
			foreach ($entry['urls'] as $url) {
				if (preg_match('/^(turns?):([^?]+)(?:\?transport=(udp|tcp))?$/', $url, $part) === 1) {
					$servers[] = [
						'schemes' => $part[1],
						'server' => $part[2],
						'protocols' => $part[3] ?? ($part[1] === 'turns' ? 'tcp' : 'udp'),
						'username' => $entry['username'],
						'password' => $entry['credential'],
					];
				}
			}
		}
		return $servers;
	}
}
