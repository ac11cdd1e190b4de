<?php

declare(strict_types=1);

// turn-broker for Nextcloud Talk (Nextcloud 28 or later): whoever asks Talk for its settings gets TURN servers with a credential of their own.
// Make an app around this file: lib/Listener/TurnBrokerListener.php, an appinfo/info.xml with the id `turn_broker`, and in the method
// `register` of its lib/AppInfo/Application.php:
//     $context->registerEventListener(\OCA\Talk\Events\BeforeTurnServersGetEvent::class, TurnBrokerListener::class);
// The settings are occ config:app:set turn_broker url --value=https://turn.example.com, and the same for `key`; the broker has
// SERVER_KEYS=nextcloud=THE_SAME_KEY. Without a credential, Talk has the servers of its own settings.
//
// Talk 22 dispatches the event once for each HTML page of any app (CSPListener, also without a login), again for each page of
// Talk, and for each request of its signaling settings. So an answer is kept until its `refreshAfter`, and a failure for PAUSE.

namespace OCA\TurnBroker\Listener;

use OCP\EventDispatcher\Event;
use OCP\EventDispatcher\IEventListener;
use OCP\Http\Client\IClientService;
use OCP\ICache;
use OCP\ICacheFactory;
use OCP\IConfig;
use OCP\IUserSession;
use Psr\Log\LoggerInterface;

/** @template-implements IEventListener<Event> */
class TurnBrokerListener implements IEventListener {
	/** How many seconds a page waits for the broker. */
	private const WAIT = 1;
	/** How many seconds pass after a failure until the broker is asked again. */
	private const PAUSE = 30;

	public function __construct(
		private IConfig $config,
		private IClientService $clients,
		private IUserSession $session,
		private ICacheFactory $caches,
		private LoggerInterface $logger,
	) {
	}

	public function handle(Event $event): void {
		if (!$this->caches->isAvailable()) {
			$this->warn('set memcache.local in config.php: without a cache, each page would get a new credential');
			return;
		}
		$servers = $this->servers($this->caches->createDistributed('turn_broker/'), $this->session->getUser()?->getUID());
		if ($servers !== []) {
			$event->setServers($servers);
		}
	}

	/** Those who are not logged in share a credential. A changed setting applies at once. */
	private function servers(ICache $cache, ?string $user): array {
		[$url, $key] = [$this->config->getAppValue('turn_broker', 'url'), $this->config->getAppValue('turn_broker', 'key')];
		[$ofUser, $ofAll] = [sha1("$url $key $user"), sha1("$url $key") . '-failed'];
		$once = "$ofAll-once";
		$kept = $cache->get($ofUser) ?? $cache->get($ofAll);
		if (is_array($kept)) {
			return $kept;
		}
		try {
			$answer = $this->clients->newClient()->get($url . '/api/turn-credentials', [
				'query' => $user === null ? ['label' => 'guests'] : ['user' => $user],
				'headers' => ['Authorization' => 'Bearer ' . $key],
				'timeout' => self::WAIT,
				'nextcloud' => ['allow_local_address' => true],
			]);
			$answer = json_decode((string)$answer->getBody(), true, 16, JSON_THROW_ON_ERROR);
			$servers = self::turnServers($answer['iceServers'] ?? []);
			if ($servers === []) {
				throw new \UnexpectedValueException($answer['reason'] ?? 'the answer has none');
			}
			$cache->set($ofUser, $servers, max(1, strtotime($answer['refreshAfter']) - time()));
			return $servers;
		} catch (\Throwable $why) {
			$this->warn($why->getMessage());
			// A refusal with a status from 400 to 499 can be about this user alone, and a single failure is no outage.
			$isOfUser = intdiv((int)$why->getCode(), 100) === 4;
			$cache->set($isOfUser || $cache->get($once) === null ? $ofUser : $ofAll, [], self::PAUSE);
			if (!$isOfUser) {
				$cache->set($once, true, self::PAUSE);
			}
			return [];
		}
	}

	/** Talk puts schemes, server and protocols together again. A server has one credential, and one URL each. */
	private static function turnServers(array $iceServers): array {
		$servers = [];
		foreach ($iceServers as $entry) {
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

	private function warn(string $why): void {
		$this->logger->warning('turn-broker gives no TURN server: ' . $why, ['app' => 'turn_broker']);
	}
}
